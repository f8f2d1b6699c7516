"""Parallel maps over processes or threads: results in the items' order, a bounded number of items in progress."""

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
from typing import Any, TypeVar

import torch

from model.utils.signals import deferred, end_with

Item = TypeVar("Item")
Result = TypeVar("Result")

# As for DataLoader's workers on Linux: no module is imported again, and the function's data is shared, not copied.
_CONTEXT = multiprocessing.get_context("fork")
_CHUNK = 8  # items sent together
_IN_PROGRESS = 4  # chunks a worker: enough that no worker waits
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[tuple[Item, Result | None]]:
    """Yields each item with the function's result, in the order of the items.

    An item whose process died (a crash in a native decoder, out of memory) gets None. The function's exceptions are
    raised here. Items are consumed as needed: at most 32 a worker are in progress.

    Args:
        function: inherited by the forked processes, not pickled. It runs with one torch thread and must not use GPUs.
        items: picklable.
        workers: number of processes.
    """
    chunks = iter(partial(_take, iter(items)), [])
    waiting: deque[tuple[list[Item], Future[list[Result]]]] = deque()
    pool = _pool(function, workers)  # forks now, before the source of the items may start threads
    try:
        while True:
            for chunk in islice(chunks, _IN_PROGRESS * workers - len(waiting)):
                waiting.append((chunk, _submit(pool, chunk)))
            if not waiting:
                return
            if not _broken(waiting[0][1]):
                chunk, future = waiting.popleft()
                yield from zip(chunk, future.result(), strict=True)
                continue
            pool.shutdown()  # a chunk killed its process, which breaks the pool
            while waiting:
                chunk, future = waiting.popleft()
                results = [_alone(function, item) for item in chunk] if _broken(future) else future.result()
                yield from zip(chunk, results, strict=True)
            pool = _pool(function, workers)
    finally:
        pool.shutdown(cancel_futures=True)


def in_threads(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yields each item's result, in the order of the items; at most two items a thread are in progress.

    The function's exceptions are raised here.
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


def _take(items: Iterator[Item]) -> list[Item]:
    return list(islice(items, _CHUNK))


_function: Callable[[Any], Any]  # set in each worker process


def _start(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    for number in (signal.SIGTERM, signal.SIGINT):  # the parent ends its workers
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)  # a fork has only the thread that forked
    end_with(os.getppid())
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc returns large buffers at every free; zeroing them costs a sixth of the time
        libc.mallopt(_M_MMAP_THRESHOLD, 64 << 20)
        libc.mallopt(_M_TRIM_THRESHOLD, 256 << 20)


def _call(chunk: list[Any]) -> list[Any]:
    return [_function(item) for item in chunk]


def _pool(function: Callable[[Item], Result], workers: int) -> ProcessPoolExecutor:
    with deferred():  # a signal between two forks would leave workers behind
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
