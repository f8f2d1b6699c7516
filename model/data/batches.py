"""Training batches: random crops of photographs, mirrored and damaged at random, with their labels.

Everything random is a pure function of the seed and the step. Training therefore resumes at any step, and any number of
processes that share a batch see the same crops as one process.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from model.data.damage import damaged_at_random
from model.data.order import Order
from model.data.shards import Shards
from model.utils.seeds import seeded

_HIDDEN_LABELS = 0.1  # share of labels that are hidden, so that the generator also learns to color without one


class Batch(NamedTuple):
    """Holds one process's share of a step's batch."""

    stored: Tensor
    """(share, 3, crop, crop) uint8 stored LAB."""
    y: Tensor
    """(share,) int64: each label's index in the list of names; -1 for an unknown or hidden label."""


class Batches(Dataset[Batch]):
    """Provides this process's share of every step's batch; the item's index is the step.

    `Order` gives the order of the photographs. From each photograph, a random square window is cut, scaled to `crop`
    if it is larger, and mirrored with probability 1/2. Its L is damaged with probability `damage`; a and b stay as
    they are.
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
        lanes: int = 1,
        window: int = 0,
    ) -> None:
        """Reads the photographs' labels; reads no pixels yet.

        Args:
            shards: at least one photograph, with sides of at least `crop` times `zoom` pixels.
            batch_size: over all processes together; a multiple of `count`.
            crop: side of the crops and of the smallest window, in pixels.
            seed: determines the order, the windows, the mirroring and the damage.
            rank: index of this process.
            count: number of processes.
            zoom: side of the largest window divided by that of the smallest.
            damage: probability in 0..1 for `model.data.damage.damaged_at_random`. It does not change the windows.
            labels: names of the known labels; one label in ten is hidden.
            lanes: number of streams, as in `Order`.
            window: shards that are shuffled together, as in `Order`.
        """
        self._shards, self._batch_size, self._seed = shards, batch_size, seed
        self._crop, self._largest = crop, int(crop * zoom)
        self._damage = damage
        self._share = share(batch_size, rank, count)
        self._labels = torch.from_numpy(shards.label_indices(labels))
        self._order = Order(len(shards), shards.per_shard, seed, batch_size, lanes, window)

    def __getitem__(self, step: int) -> Batch:
        draws = seeded(self._seed, "crop", step)
        sides = torch.randint(self._crop, self._largest + 1, (self._batch_size, 1), generator=draws)
        corners = (torch.rand(self._batch_size, 2, generator=draws) * (self._shards.size - sides + 1)).int()
        mirrored = torch.rand(self._batch_size, 1, generator=draws) < 0.5
        windows = torch.cat((sides, corners, mirrored), dim=1)[self._share].tolist()
        places = range(self._batch_size)[self._share]
        self._shards.expect(self._order.shards(step, places))
        chosen = self._order.photographs(step, places)
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
        hidden = torch.rand(self._batch_size, generator=seeded(self._seed, "label", step)) < _HIDDEN_LABELS
        return Batch(crops, self._labels[chosen].masked_fill(hidden[self._share], -1))


def share(batch_size: int, rank: int, count: int) -> slice:
    """Returns the slice of a batch that process `rank` of `count` takes."""
    each = batch_size // count
    return slice(rank * each, (rank + 1) * each)
