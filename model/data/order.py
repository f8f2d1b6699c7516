"""The order of photographs: which ones each training step sees."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from model.utils.seeds import seeded


class _Window(NamedTuple):
    """Holds photographs of a lane that are shuffled together, and where they begin in the stream of the lane."""

    begin: int
    photographs: Tensor
    shards: list[int]

    @property
    def end(self) -> int:
        return self.begin + len(self.photographs)


class Order:
    """Maps every step to the indices of its photographs.

    The dataset is divided into `lanes` contiguous parts whose lengths differ by at most one photograph. Each lane is an
    endless stream, one epoch after another; a step takes the next `batch_size / lanes` photographs of every stream. In
    each epoch, a lane's shards come in a new order, `window` shards at a time, and the photographs of a window are
    shuffled. A reader of one lane therefore needs two windows of shards at hand: the current one and the next.

    With one lane and no window, the stream is a sequence of shuffles of the whole dataset.
    """

    def __init__(
        self, photographs: int, per_shard: int, seed: int, batch_size: int, lanes: int = 1, window: int = 0
    ) -> None:
        """Sets the sizes; draws nothing yet.

        Args:
            photographs: number of photographs, at least one for each lane.
            per_shard: photographs in every shard but the last.
            seed: determines the order.
            batch_size: a multiple of `lanes`.
            lanes: number of streams.
            window: shards that are shuffled together; 0 for all shards of a lane.
        """
        self._photographs, self._per_shard, self._seed = photographs, per_shard, seed
        self._each, self._lanes, self._length = batch_size // lanes, lanes, window
        self._held: dict[int, list[_Window]] = {}

    def photographs(self, step: int, places: range) -> list[int]:
        """Returns the photographs' indices at some places of a step's batch."""
        chosen: list[int] = []
        for lane, start, stop in self._streams(step, places):
            while start < stop:
                window = self._window(lane, start)
                chosen += window.photographs[start - window.begin : stop - window.begin].tolist()
                start = min(stop, window.end)
        return chosen

    def shards(self, step: int, places: range) -> list[int]:
        """Returns the shards of the windows that the step reads for some places, then those of the next windows."""
        now, soon = [], []
        for lane, start, stop in self._streams(step, places):
            window = self._window(lane, start)
            now += window.shards
            while window.begin < stop:
                window = self._window(lane, window.end)
                soon += window.shards
        return list(dict.fromkeys(now + soon))

    def _streams(self, step: int, places: range) -> Iterator[tuple[int, int, int]]:
        """Yields the lane, the first position and the end position in its stream, for each lane of the places."""
        for lane in range(places.start // self._each, -(-places.stop // self._each)):
            here = step * self._each - lane * self._each
            yield lane, here + max(places.start, lane * self._each), here + min(places.stop, (lane + 1) * self._each)

    def _window(self, lane: int, position: int) -> _Window:
        """Returns the window that holds a position of the lane's stream; keeps the last two windows of each lane."""
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
        """Yields the shards of each window of a lane's epoch, in order."""
        start, stop = first // self._per_shard, (last - 1) // self._per_shard + 1
        turns = start + torch.randperm(stop - start, generator=seeded(self._seed, "shards", epoch, lane))
        length = self._length or len(turns)
        for begin in range(0, len(turns), length):
            yield turns[begin : begin + length].sort().values.tolist()
