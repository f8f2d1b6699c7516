"""What each training step sees: which photographs, where they are cropped, whether they are mirrored, and its noise.

All of it is a pure function of the seed and the step, so training resumes anywhere, and any number of processes that
share a batch sees what one process would see.
"""

import hashlib
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from model.shards import Shards


class Batches(Dataset[Tensor]):
    """Item `step` is this process's share of that step's batch: (share, 3, crop, crop) uint8 stored LAB.

    The stream of photographs is one shuffle of the set after the other; a step takes the next `batch_size` of it.
    Each is cropped at random and mirrored half the time; colors stay untouched.
    """

    def __init__(self, shards: Shards, batch_size: int, crop: int, seed: int, rank: int = 0, count: int = 1) -> None:
        """
        Args:
            shards: at least one photograph, of sides of at least `crop`.
            batch_size: over all processes together; a multiple of `count`.
            crop: pixels.
            seed: of order, crops and mirroring.
            rank: of this process.
            count: of processes.
        """
        self._shards, self._batch_size, self._crop, self._seed = shards, batch_size, crop, seed
        self._share = share(batch_size, rank, count)

    def __getitem__(self, step: int) -> Tensor:
        draws = seeded(self._seed, "crop", step)
        room = self._shards.size - self._crop + 1
        corners = torch.randint(room, (self._batch_size, 2), generator=draws)[self._share].tolist()
        mirrored = (torch.rand(self._batch_size, generator=draws) < 0.5)[self._share].tolist()
        first = step * self._batch_size
        photographs = self._shards[[self._photograph(first + place) for place in range(self._batch_size)[self._share]]]
        crops = np.empty((len(corners), 3, self._crop, self._crop), np.uint8)
        for crop, photograph, (top, left), mirror in zip(crops, photographs, corners, mirrored, strict=True):
            window = photograph[:, top : top + self._crop, left : left + self._crop]
            crop[:] = window[:, :, ::-1] if mirror else window
        return torch.from_numpy(crops)

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
