"""What each training step sees: which photographs, where they are cropped, whether they are mirrored or damaged, their
labels, and its noise.

All of it is a pure function of the seed and the step, so training resumes anywhere, and any number of processes that
share a batch sees what one process would see.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from model.damage import damaged_at_random
from model.shards import Shards

_HIDDEN = 0.1  # share of labels that are, so that coloring without one is learnt too


class Batch(NamedTuple):
    """A process's share of what a step sees."""

    stored: Tensor
    """(share, 3, crop, crop) uint8 stored LAB."""
    y: Tensor
    """(share,) int64, each photograph's label as its place in a list of names, -1 where it has none or it is hidden."""


class Batches(Dataset[Batch]):
    """Item `step` is this process's share of that step's batch.

    The stream of photographs is one shuffle of the set after the other; a step takes the next `batch_size` of it.
    Of each, a random square window is taken, scaled to `crop` where it is larger, and mirrored half the time; then its
    L is damaged with the probability `damage`. Colors stay untouched.
    """

    def __init__(
        self,
        shards: Shards,
        batch_size: int,
        crop: int,
        seed: int,
        rank: int = 0,
        count: int = 1,
        zoom: float = 1.0,
        damage: float = 0.0,
        labels: Sequence[str] = (),
    ) -> None:
        """
        Args:
            shards: at least one photograph, of sides of at least `crop` times `zoom`.
            batch_size: over all processes together; a multiple of `count`.
            crop: pixels; the side of the smallest window.
            seed: of order, windows, mirroring and damage.
            rank: of this process.
            count: of processes.
            zoom: the largest window's side over the smallest's.
            damage: 0..1, of `model.damage.damaged_at_random`. The windows are the same whatever it is.
            labels: names that count; one in ten is hidden.
        """
        self._shards, self._batch_size, self._seed = shards, batch_size, seed
        self._crop, self._largest = crop, int(crop * zoom)
        self._damage = damage
        self._share = share(batch_size, rank, count)
        self._labels = torch.from_numpy(shards.label_indices(labels))

    def __getitem__(self, step: int) -> Batch:
        draws = seeded(self._seed, "crop", step)
        sides = torch.randint(self._crop, self._largest + 1, (self._batch_size, 1), generator=draws)
        corners = (torch.rand(self._batch_size, 2, generator=draws) * (self._shards.size - sides + 1)).int()
        mirrored = torch.rand(self._batch_size, 1, generator=draws) < 0.5
        windows = torch.cat((sides, corners, mirrored), dim=1)[self._share].tolist()
        first = step * self._batch_size
        places = range(self._batch_size)[self._share]
        chosen = [self._photograph(first + place) for place in places]
        photographs = self._shards[chosen]
        crops = torch.empty((len(windows), 3, self._crop, self._crop), dtype=torch.uint8)
        for place, crop, photograph, (side, top, left, mirror) in zip(places, crops, photographs, windows, strict=True):
            window = torch.from_numpy(photograph)[:, top : top + side, left : left + side]
            if side > self._crop:
                window = interpolate(window[None], (self._crop, self._crop), mode="bilinear", antialias=True)[0]
            window = window.flip(-1) if mirror else window
            if self._damage:
                window = damaged_at_random(window, self._damage, seeded(self._seed, "damage", step, place))
            crop.copy_(window)
        hidden = torch.rand(self._batch_size, generator=seeded(self._seed, "label", step)) < _HIDDEN
        return Batch(crops, self._labels[chosen].masked_fill(hidden[self._share], -1))

    def _photograph(self, position: int) -> int:
        """The index of the photograph at a position of the endless stream."""
        epoch, place = divmod(position, len(self._shards))
        return int(_order(self._seed, epoch, len(self._shards))[place])


def share(batch_size: int, rank: int, count: int) -> slice:
    """The part of a batch that one of `count` processes takes."""
    each = batch_size // count
    return slice(rank * each, (rank + 1) * each)


def seeded(*key: int | str) -> torch.Generator:
    """A CPU random generator for one purpose."""
    return torch.Generator().manual_seed(seed_of(*key))


def seed_of(*key: int | str) -> int:
    """A hash of the key in 32 bits, which is what torch's generator uses of a seed."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, key)).encode()).digest()[:4])


@lru_cache(maxsize=2)  # a batch may end one epoch and begin the next
def _order(seed: int, epoch: int, photographs: int) -> Tensor:
    return torch.randperm(photographs, generator=seeded(seed, "order", epoch))
