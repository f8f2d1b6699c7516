"""Color hints of a user in the generator's decoder, after Zhang et al. 2017 (arXiv:1705.02999)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate

_GAIN = 5.0  # brings a and b to about unit scale, as in the discriminator
_CHANNELS = 5  # of a level of the pyramid
_HIDDEN = 128


class HintPyramid(nn.Module):
    """Adds hints to the decoder's state at every level.

    Each level sees the hints as a field of colors that is as smooth as hints are sparse (`fields`). A 1x1 convolution
    without bias adds it to the state: without hints it adds exactly nothing. At the innermost level, two 3x3
    convolutions of state and field together decide how far a color spreads. The last convolution of each level is zero
    at first: a new generator colors as one without hints.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        """
        Args:
            widths: channels of the decoder's state by level, outermost first; the state of level i has
                1 / 2^(i + 1) of the picture's side.
        """
        super().__init__()
        self.add: nn.ModuleList = nn.ModuleList(nn.Conv2d(_CHANNELS, width, 1, bias=False) for width in widths)
        self.spread = nn.Sequential(
            nn.Conv2d(widths[-1] + _CHANNELS, _HIDDEN, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_HIDDEN, widths[-1], 3, padding=1, bias=False),
        )
        for layer in (*self.add, self.spread[-1]):
            nn.init.zeros_(layer.weight)

    def pyramid(self, hints: Tensor) -> list[Tensor]:
        """Returns what each level sees of hints (B, 3, H, W): colors, colors times nearness, and nearness."""
        seen = []
        for field in fields(hints, len(self.add)):
            color, near = _GAIN * field[:, :2], field[:, 2:]
            seen.append(torch.cat((color, color * near, near), dim=1))
        return seen

    def forward(self, x: Tensor, seen: Tensor, level: int) -> Tensor:
        """Returns the decoder's state with the hints of a level.

        Args:
            x: (B, widths[level], h, w), the state.
            seen: (B, 5, h, w) of `pyramid`.
            level: 0 is the outermost.
        """
        added: Tensor = self.add[level](seen)
        if level == len(self.add) - 1:
            added = added + self.spread(torch.cat((x, seen), dim=1))
        return x + added


def fields(hints: Tensor, levels: int) -> list[Tensor]:
    """Spreads hints over the picture, by pull and push (Gortler et al. 1996, The Lumigraph, section 3.4).

    Pull: a cell has the mean of the colors revealed within it, however few; in a mean over the cell they would vanish.
    Push: a cell without any has the color of the coarser cells around it, beginning with the mean of the whole picture.

    Args:
        hints: (B, 3, H, W) float32: a, b and the mask; a and b count where the mask is 1.
        levels: number of times that the side is halved; H and W are multiples of 2 ** levels.

    Returns:
        (B, 3, H / 2^(i + 1), W / 2^(i + 1)) of level i: a, b, and nearness, which is 1 where the level's own cell has
        hints, and half as much where the next coarser one has. All is 0 for a picture without hints.
    """
    weighted = torch.cat((hints[:, :2] * hints[:, 2:], hints[:, 2:]), dim=1)
    pulled = [weighted]
    for _ in range(levels):
        pulled.append(avg_pool2d(pulled[-1], 2))
    field = _means(adaptive_avg_pool2d(weighted, 1)).expand_as(pulled[-1])
    found: list[Tensor] = []
    for level in reversed(pulled[1:]):
        if found:
            field = interpolate(field, scale_factor=2.0, mode="bilinear")
        own = _means(level)
        field = torch.where(own[:, 2:] > 0, own, torch.cat((field[:, :2], field[:, 2:] / 2), dim=1))
        found.append(field)
    return found[::-1]


def _means(weighted: Tensor) -> Tensor:
    """Divides sums of a and b by that of the mask, and returns with them 1 where there is any; 0 elsewhere."""
    share = weighted[:, 2:]
    mean = weighted[:, :2] / share.clamp(min=torch.finfo(share.dtype).tiny)
    return torch.cat((mean, (share > 0).to(mean.dtype)), dim=1)
