"""Tests of the lanes: places, turns, and work whose caller has given up."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model.data.images import Photograph, decode
from model.inference.colorizer import Colorizer
from serving.lanes import Lane, LateError, NoPlaceError
from serving.limits import Limits
from serving.memory import Memory
from serving.worker import ColoringPool
from tests.model.inference.test_colorizer import generator_folder
from tests.serving.conftest import picture, pixels, until

SMALL, LARGE = picture(20, 20), picture(60, 40)


@pytest.fixture
def lane() -> Iterator[Lane]:
    """Returns a lane of one thread and two places."""
    found = Lane("small", threads=1, places=2)
    yield found
    found.close()


@pytest.fixture
def pool() -> Iterator[ColoringPool]:
    """Returns a pool in which 1000 pixels are a large photograph."""
    memory = Memory(100 << 30)
    memory.measure()
    with ColoringPool(Limits(small_pixels=1000), memory, lambda size: None) as found:
        yield found


@pytest.fixture
def colorizer(tmp_path: Path) -> Colorizer:
    return Colorizer.load(generator_folder(tmp_path / "generator"))


async def eventually(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(until, condition)


async def given_up(task: "asyncio.Task[object]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_work_that_was_given_up_keeps_its_place_until_it_ends(lane: Lane):
    begun, told, go = threading.Event(), threading.Event(), threading.Event()

    def work(gone: threading.Event) -> None:
        begun.set()
        gone.wait()
        told.set()
        go.wait()

    async def scenario() -> None:
        first = asyncio.create_task(lane.run(work, 60, 60))
        await eventually(begun.is_set)
        await given_up(first)
        await eventually(told.is_set)
        second = asyncio.create_task(lane.run(lambda gone: 2, 60, 60))
        await asyncio.sleep(0)
        with pytest.raises(NoPlaceError, match="2 small photographs are in progress"):
            await lane.run(lambda gone: 3, 60, 60)
        go.set()
        assert await second == 2
        assert await lane.run(lambda gone: 4, 60, 60) == 4

    asyncio.run(scenario())


def test_work_that_was_given_up_in_the_queue_never_begins(lane: Lane):
    begun: list[int] = []
    go = threading.Event()

    async def scenario() -> None:
        first = asyncio.create_task(lane.run(lambda gone: go.wait(), 60, 60))
        await asyncio.sleep(0)
        second = asyncio.create_task(lane.run(lambda gone: begun.append(2), 60, 60))
        await asyncio.sleep(0)
        await given_up(second)
        with pytest.raises(LateError, match="turn did not come in"):
            await lane.run(lambda gone: begun.append(3), 0.2, 60)
        go.set()
        await first
        await lane.run(lambda gone: begun.append(4), 60, 60)

    asyncio.run(scenario())
    assert begun == [4]


def test_coloring_ends_before_the_next_tile_when_its_caller_is_gone(pool: ColoringPool, colorizer: Colorizer):
    seen: list[int] = []
    go = threading.Event()

    def advance(tile: int, tiles: int) -> None:
        seen.append(tile)
        if tile == 1:
            go.wait()

    async def scenario() -> None:
        photograph = picture(1000, 1000)
        task = asyncio.create_task(pool.color(colorizer, photograph, advance=advance))
        await eventually(lambda: 1 in seen)
        await given_up(task)
        go.set()
        colored, _ = await pool.color(colorizer, LARGE)  # the lane works on
        assert pixels(colored).shape == (40, 60, 3)

    asyncio.run(scenario())
    assert seen == [0, 0, 1]


def test_nothing_is_decoded_whose_caller_is_gone(pool: ColoringPool, colorizer: Colorizer):
    asked: list[int] = []
    go = threading.Event()

    def read(content: bytes, max_pixels: int) -> Photograph:
        asked.append(max_pixels)
        return decode(content, max_pixels=max_pixels)

    async def scenario() -> None:
        waits = [asyncio.create_task(pool.color(colorizer, LARGE, advance=lambda *_: go.wait(), read=read))]
        try:
            await eventually(
                lambda: asked == [0, 0, 2400]
            )  # its size, in the lane of small ones and its own; its pixels
            waits.append(asyncio.create_task(pool.color(colorizer, LARGE, read=read)))
            await eventually(lambda: len(asked) == 4)
            await given_up(waits[1])
        finally:  # a thread that waits would keep the test from failing
            go.set()
        await waits[0]

    asyncio.run(scenario())
    assert asked == [0, 0, 2400, 0]


def test_large_photographs_are_colored_one_at_a_time_and_small_ones_overtake(pool: ColoringPool, colorizer: Colorizer):
    go = threading.Event()
    at_work, most = 0, 0

    class Counted(Colorizer):
        def colorize(self, *arguments, **options):
            nonlocal at_work, most
            at_work += 1
            most = max(most, at_work)
            go.wait()
            time.sleep(0.05)
            colored = super().colorize(*arguments, **options)
            at_work -= 1
            return colored

    counted = Counted(colorizer.generator, colorizer.size)

    async def scenario() -> None:
        large_ones = [asyncio.create_task(pool.color(counted, LARGE)) for _ in range(3)]
        try:
            await eventually(lambda: bool(at_work))
            for _ in range(3):
                colored, _ = await asyncio.wait_for(pool.color(colorizer, SMALL), 60)
                assert pixels(colored).shape == (20, 20, 3)
        finally:
            go.set()
        await asyncio.gather(*large_ones)

    asyncio.run(scenario())
    assert most == 1
