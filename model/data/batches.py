"""What each training step sees: which photographs, where they are cropped, whether they are mirrored or damaged, their
labels, and its noise.

All of it is a pure function of the seed and the step, so training resumes anywhere, and any number of processes that
share a batch sees what one process would see.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from model.data.damage import damaged_at_random
from model.data.shards import Shards

_HIDDEN = 0.1  # share of labels that are, so that coloring without one is learnt too


class Batch(NamedTuple):
    """A process's share of what a step sees."""

    stored: Tensor
    """(share, 3, crop, crop) uint8 stored LAB."""
    y: Tensor
    """(share,) int64, each photograph's label as its place in a list of names, -1 where it has none or it is hidden."""


class Batches(Dataset[Batch]):
    """Item `step` is this process's share of that step's batch.

    Photographs come in the order of `Order`. Of each, a random square window is taken, scaled to `crop` where it is
    larger, and mirrored half the time; then its L is damaged with the probability `damage`. Colors stay untouched.
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
        """
        Args:
            shards: at least one photograph, of sides of at least `crop` times `zoom`.
            batch_size: over all processes together; a multiple of `count`.
            crop: pixels; the side of the smallest window.
            seed: of order, windows, mirroring and damage.
            rank: of this process.
            count: of processes.
            zoom: the largest window's side over the smallest's.
            damage: 0..1, of `model.data.damage.damaged_at_random`. The windows are the same whatever it is.
            labels: names that count; one in ten is hidden.
            lanes, window: of `Order`.
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
        hidden = torch.rand(self._batch_size, generator=seeded(self._seed, "label", step)) < _HIDDEN
        return Batch(crops, self._labels[chosen].masked_fill(hidden[self._share], -1))


class _Window(NamedTuple):
    """Photographs of a lane that are shuffled together, and where they begin in the lane's stream."""

    begin: int
    photographs: Tensor
    shards: list[int]

    @property
    def end(self) -> int:
        return self.begin + len(self.photographs)


class Order:
    """Which photographs each step sees.

    The set is dealt into `lanes` of the same length, give or take a photograph: the first part of it, the second, and
    so on. Each is an endless stream of its own, one epoch after the other; a step takes the next `batch_size / lanes`
    of every stream. In an epoch the lane's shards come in a new order, `window` at a time, and the photographs of
    these are shuffled. Whoever reads one lane so needs two windows of shards at hand: this one, and soon the next.

    With one lane and no window, the stream is one shuffle of the whole set after the other.
    """

    def __init__(
        self, photographs: int, per_shard: int, seed: int, batch_size: int, lanes: int = 1, window: int = 0
    ) -> None:
        """
        Args:
            photographs: at least one for each lane.
            per_shard: photographs in every shard but the last.
            seed: of the order.
            batch_size: a multiple of `lanes`.
            lanes: how many.
            window: in shards; 0: all that a lane has.
        """
        self._photographs, self._per_shard, self._seed = photographs, per_shard, seed
        self._each, self._lanes, self._length = batch_size // lanes, lanes, window
        self._held: dict[int, list[_Window]] = {}

    def photographs(self, step: int, places: range) -> list[int]:
        """The indices of those at some places of a step's batch."""
        chosen: list[int] = []
        for lane, start, stop in self._streams(step, places):
            while start < stop:
                window = self._window(lane, start)
                chosen += window.photographs[start - window.begin : stop - window.begin].tolist()
                start = min(stop, window.end)
        return chosen

    def shards(self, step: int, places: range) -> list[int]:
        """Those of the windows that the step reads for some places, and after them those of the next windows."""
        now, soon = [], []
        for lane, start, stop in self._streams(step, places):
            window = self._window(lane, start)
            now += window.shards
            while window.begin < stop:
                window = self._window(lane, window.end)
                soon += window.shards
        return list(dict.fromkeys(now + soon))

    def _streams(self, step: int, places: range) -> Iterator[tuple[int, int, int]]:
        """Lane, first and last position + 1 in its stream, of each lane that the places touch."""
        for lane in range(places.start // self._each, -(-places.stop // self._each)):
            here = step * self._each - lane * self._each
            yield lane, here + max(places.start, lane * self._each), here + min(places.stop, (lane + 1) * self._each)

    def _window(self, lane: int, position: int) -> _Window:
        """The one that holds a position of the lane's stream; the last two asked for are kept."""
        held = self._held.setdefault(lane, [])
        for window in held:
            if window.begin <= position < window.end:
                return window
        window = self._draw(lane, position)
        self._held[lane] = [*held[-1:], window]
        return window

    def _draw(self, lane: int, position: int) -> _Window:
        first, last = (self._photographs * edge // self._lanes for edge in (lane, lane + 1))
        epoch, place = divmod(position, last - first)
        begin = position - place
        for number, shards in enumerate(self._windows(epoch, lane, first, last)):
            edges = [(max(first, s * self._per_shard), min(last, (s + 1) * self._per_shard)) for s in shards]
            end = begin + sum(stop - start for start, stop in edges)
            if position < end:
                which = (lane, number) if lane or number else ()
                draws = seeded(self._seed, "order", epoch, *which)
                inside = torch.cat([torch.arange(start, stop) for start, stop in edges])
                return _Window(begin, inside[torch.randperm(end - begin, generator=draws)], shards)
            begin = end
        raise AssertionError("unreachable")

    def _windows(self, epoch: int, lane: int, first: int, last: int) -> Iterator[list[int]]:
        """The shards of each window of a lane's epoch, in turn."""
        start, stop = first // self._per_shard, (last - 1) // self._per_shard + 1
        turns = start + torch.randperm(stop - start, generator=seeded(self._seed, "shards", epoch, lane))
        length = self._length or len(turns)
        for begin in range(0, len(turns), length):
            yield turns[begin : begin + length].sort().values.tolist()


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
