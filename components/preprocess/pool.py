"""A function over many items in processes on all cores: a bounded number under way, and no crash ends it."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# Workers are forked from a small server that has imported what they need: not from this process with torch's threads.
_CONTEXT = multiprocessing.get_context("forkserver")
_UNDER_WAY = 4  # per worker: enough that none waits


def start(module: str) -> None:
    """Has the server of workers started, in the background, with a module imported that workers will need."""
    _CONTEXT.set_forkserver_preload([module])
    forkserver.ensure_running()


def in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[tuple[Item, Result | None]]:
    """Yields each item with the function's result, in the order of the items.

    An item whose process died (a crash in a native decoder, no memory left) comes with None. Exceptions of the function
    are raised here. Items are taken as they are needed: at most 4 a worker are under way, however many there are.

    Args:
        function: picklable.
        items: picklable.
        workers: number of processes.
    """
    items = iter(items)
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    pool = _pool(workers)
    try:
        while True:
            while len(waiting) < _UNDER_WAY * workers:
                try:
                    item = next(items)
                except StopIteration:
                    break
                waiting.append((item, _submit(pool, function, item)))
            if not waiting:
                return
            if not _broken(waiting[0][1]):
                item, future = waiting.popleft()
                yield item, future.result()
                continue
            pool.shutdown()  # one of those under way took its process along and, with it, the pool
            while waiting:
                item, future = waiting.popleft()
                yield item, (_alone(function, item) if _broken(future) else future.result())
            pool = _pool(workers)
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


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=_CONTEXT)


def _submit(pool: ProcessPoolExecutor, function: Callable[[Item], Result], item: Item) -> Future[Result]:
    try:
        return pool.submit(function, item)
    except BrokenProcessPool as error:
        future: Future[Result] = Future()
        future.set_exception(error)
        return future


def _broken(future: Future[Result]) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


def _alone(function: Callable[[Item], Result], item: Item) -> Result | None:
    with _pool(1) as pool:
        try:
            return pool.submit(function, item).result()
        except BrokenProcessPool:
            return None
