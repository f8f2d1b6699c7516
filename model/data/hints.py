"""Color hints for training and evaluation: true colors revealed at random places, after Zhang et al. 2017
(arXiv:1705.02999, section 3.1)."""

import math
from typing import NamedTuple, Self

import torch
from torch import Tensor

from model.config import TrainConfig
from model.data.batches import share
from model.utils.seeds import seeded

_SQUARES = 32  # at most, on a photograph
_STOP = 1 / 8  # probability that a square is a photograph's last
_SIDE = 9  # pixels, the largest side of a square
_STROKED = 0.25  # share of the photographs with hints whose squares form strokes
_STROKE = 8  # squares of a stroke
_WHOLE = 0.01  # share of the photographs with hints whose colors are revealed everywhere


class Hints(NamedTuple):
    """Says which pixels of each photograph of a batch are revealed."""

    squares: Tensor
    """(B, n, 3) int64: top, left and side in pixels, beyond the border or not; a side of 0 is no square."""
    whole: Tensor
    """(B,) bool: all pixels are revealed."""

    def of(self, photographs: slice, device: torch.device) -> Self:
        """Returns the hints of some of the photographs, on a device."""
        return self._replace(squares=self.squares[photographs].to(device), whole=self.whole[photographs].to(device))


def random_hints(ab: Tensor, config: TrainConfig, images: int, rank: int, count: int) -> Tensor | None:
    """Reveals colors of some photographs of a training step; seed and step determine which, whatever the processes.

    Args:
        ab: (B, 2, crop, crop) float32 in -1..1, this process's share of the batch.
        config: of the training; its `hints` is the share of photographs that get hints.
        images: images seen before the step.
        rank: index of this process.
        count: number of processes.

    Returns:
        (B, 3, crop, crop), as `reveal`; None if no photograph ever gets hints.
    """
    if not config.hints:
        return None
    draws = seeded(config.seed, "hints", images // config.batch_size)
    drawn = draw_hints(config.batch_size, config.hints, config.crop, draws)
    return reveal(ab, drawn.of(share(config.batch_size, rank, count), ab.device))


def draw_hints(batch: int, hinted_share: float, crop: int, draws: torch.Generator) -> Hints:
    """Draws hints as training uses them.

    Their number is geometric with p = 1/8, the squares' sides are 1 to 9 pixels, and 1 photograph in 100 is revealed
    whole, as in the paper. Places are uniform. In a quarter of the photographs, each eight squares are of one side and
    lie on a line, side by side: a stroke.

    Args:
        batch: number of photographs.
        hinted_share: share of the photographs that get hints.
        crop: side of the photographs in pixels.
        draws: on the CPU.
    """
    hinted = torch.rand(batch, generator=draws) < hinted_share
    count = torch.empty(batch, 1).geometric_(_STOP, generator=draws)
    stroked = torch.rand(batch, 1, 1, generator=draws) < _STROKED
    whole = torch.rand(batch, generator=draws) < _WHOLE
    side = torch.randint(1, _SIDE + 1, (batch, _SQUARES, 1), generator=draws)
    center = crop * torch.rand(batch, _SQUARES, 2, generator=draws)
    angle = 2 * math.pi * torch.rand(batch, _SQUARES, 1, generator=draws)

    # Let a stroke continue its first square
    place = torch.arange(_SQUARES)
    first = place - place % _STROKE
    walk = (place % _STROKE)[:, None] * side[:, first] * torch.cat((angle.sin(), angle.cos()), dim=2)[:, first]
    center = torch.where(stroked, center[:, first] + walk, center)
    side = torch.where(stroked, side[:, first], side)

    corner = (center - side / 2).round().long()
    side = side * (hinted[:, None] & (place < count))[..., None]
    return Hints(torch.cat((corner, side), dim=2), whole & hinted)


def reveal(ab: Tensor, hints: Hints) -> Tensor:
    """Reveals true colors: of each square its mean, of a pixel in several squares the mean of theirs.

    Args:
        ab: (B, 2, H, W) float32 in -1..1.
        hints: on the same device.

    Returns:
        (B, 3, H, W) float32: a, b and the mask, 1 where a color is revealed; a = b = 0 elsewhere.
    """
    top, left, side = hints.squares[..., None].unbind(dim=2)
    rows, columns = (_within(length, start, side) for length, start in zip(ab.shape[-2:], (top, left), strict=True))
    area = rows.sum(dim=2) * columns.sum(dim=2)
    sums = ((rows[:, None] @ ab) * columns[:, None]).sum(dim=3)
    mean = sums / area[:, None].clamp(min=1)
    covered = (rows.mT @ columns)[:, None]
    painted = rows.mT[:, None] @ (mean[..., None] * columns[:, None]) / covered.clamp(min=1)
    whole = hints.whole[:, None, None, None]
    return torch.cat((torch.where(whole, ab, painted), ((covered > 0) | whole).to(ab.dtype)), dim=1)


def _within(length: int, start: Tensor, side: Tensor) -> Tensor:
    """Says which of `length` rows or columns belong to each square: (B, n, length) float32, 0 or 1."""
    place = torch.arange(length, device=start.device)
    return ((place >= start) & (place < start + side)).float()
