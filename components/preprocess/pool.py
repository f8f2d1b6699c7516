"""A function over many items, in processes on all cores or in threads: a bounded number under way, in their order."""

import ctypes
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch

from model.utils.signals import deferred

Item = TypeVar("Item")
Result = TypeVar("Result")

# As DataLoader's workers on Linux: nothing is imported again, and what the function holds is shared, not copied.
_CONTEXT = multiprocessing.get_context("fork")
_CHUNK = 8  # items sent together
_UNDER_WAY = 4  # chunks a worker: enough that none waits
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _PR_SET_PDEATHSIG = -1, -3, 1  # malloc.h, linux/prctl.h


def in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[tuple[Item, Result | None]]:
    """Yields each item with the function's result, in the order of the items.

    An item whose process died (a crash in a native decoder, no memory left) comes with None. Exceptions of the function
    are raised here. Items are taken as they are needed: at most 32 a worker are under way, however many there are.

    Args:
        function: forked along, not pickled. Runs with one torch thread and must leave GPUs alone.
        items: picklable.
        workers: number of processes.
    """
    chunks = iter(partial(_take, iter(items)), [])
    waiting: deque[tuple[list[Item], Future[list[Result]]]] = deque()
    pool = _pool(function, workers)  # now, before whatever the items come from may start threads
    try:
        while True:
            for chunk in islice(chunks, _UNDER_WAY * workers - len(waiting)):
                waiting.append((chunk, _submit(pool, chunk)))
            if not waiting:
                return
            if not _broken(waiting[0][1]):
                chunk, future = waiting.popleft()
                yield from zip(chunk, future.result(), strict=True)
                continue
            pool.shutdown()  # one of those under way took its process along and, with it, the pool
            while waiting:
                chunk, future = waiting.popleft()
                results = [_alone(function, item) for item in chunk] if _broken(future) else future.result()
                yield from zip(chunk, results, strict=True)
            pool = _pool(function, workers)
    finally:
        pool.shutdown(cancel_futures=True)


def in_threads(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yields each item's result, in the order of the items, of which at most twice as many as threads are under way.

    What the function raises is raised here.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) == 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def cores() -> int:
    """The processors this process may use: by affinity and by a container's quota (cgroup 2)."""
    available = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(available, int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup, or "max"
        return available


def _take(items: Iterator[Item]) -> list[Item]:
    return list(islice(items, _CHUNK))


_function: Callable[[Any], Any]  # a worker's own


def _start(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    for number in (signal.SIGTERM, signal.SIGINT):  # whoever has the pool ends it
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)  # the other threads did not come along
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):  # Linux: when the step is killed, its workers go along
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if hasattr(libc, "mallopt"):  # glibc returns large buffers at every free; having them zeroed anew costs a sixth
        libc.mallopt(_M_MMAP_THRESHOLD, 64 << 20)
        libc.mallopt(_M_TRIM_THRESHOLD, 256 << 20)


def _call(chunk: list[Any]) -> list[Any]:
    return [_function(item) for item in chunk]


def _pool(function: Callable[[Item], Result], workers: int) -> ProcessPoolExecutor:
    with deferred():  # interrupted between two forks, nothing would end those that there are
        pool = ProcessPoolExecutor(workers, _CONTEXT, _start, (function,))
        _submit(pool, [])
    return pool


def _submit(pool: ProcessPoolExecutor, chunk: list[Item]) -> Future[list[Any]]:
    try:
        return pool.submit(_call, chunk)
    except BrokenProcessPool as error:
        future: Future[list[Any]] = Future()
        future.set_exception(error)
        return future


def _broken(future: Future[list[Result]]) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


def _alone(function: Callable[[Item], Result], item: Item) -> Result | None:
    with _pool(function, 1) as pool:
        future: Future[list[Result]] = pool.submit(_call, [item])
        return None if _broken(future) else future.result()[0]
