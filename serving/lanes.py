"""Lanes of the server: threads for photographs of one kind, with places for those that wait."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore, Event
from typing import TypeVar

import torch

from model.utils.errors import UserError

T = TypeVar("T")


class NoPlaceError(UserError):
    """Raised if too many photographs wait in a lane."""


class LateError(UserError):
    """Raised if a photograph's turn did not come, or its coloring did not end, in time."""


class Abandoned(Exception):  # noqa: N818 - not an error
    """Ends the work on a photograph that its caller has given up."""


def end_if(gone: Event) -> None:
    """Ends the work if nobody wants its result.

    Raises:
        Abandoned: nobody does.
    """
    if gone.is_set():
        raise Abandoned


class Lane:
    """Runs photographs in threads of its own.

    A place is taken until the thread has ended: work that was given up still takes its place, and its memory, until it
    notices.
    """

    def __init__(self, name: str, threads: int, places: int, nice: int = 0) -> None:
        """
        Args:
            name: name of the threads.
            threads: number of photographs that are worked on at the same time.
            places: number of photographs that wait or are worked on.
            nice: how far the threads give way to the process's others, 0..19.
        """
        self._name, self._places, self._nice = name, places, nice
        self._free = BoundedSemaphore(places)
        self._pool = ThreadPoolExecutor(threads, name, initializer=self._begin)

    def close(self) -> None:
        """Forgets those that wait and ends the threads."""
        self._pool.shutdown(cancel_futures=True)

    async def run(self, work: Callable[[Event], T], waiting_seconds: float, seconds: float) -> T:
        """Returns the result of `work`, which a thread calls with an event: it is set when nobody wants the result.

        A cancelled call leaves the queue.

        Raises:
            NoPlaceError: all places are taken.
            LateError: it has not begun after `waiting_seconds`, or not ended `seconds` later.
        """
        if not self._free.acquire(blocking=False):
            raise NoPlaceError(f"{self._places} {self._name} photographs are in progress; try again soon.")
        gone = Event()
        running = self._pool.submit(work, gone)
        running.add_done_callback(lambda _: self._free.release())
        result = asyncio.wrap_future(running)
        try:
            await asyncio.wait({result}, timeout=waiting_seconds)
            if not result.done() and running.cancel():
                raise LateError(f"The photograph's turn did not come in {waiting_seconds:g} seconds; try again later.")
            async with asyncio.timeout(seconds):
                return await result
        except TimeoutError:
            raise LateError(f"The photograph was not colored in {seconds:g} seconds; try again later.") from None
        finally:
            gone.set()
            result.cancel()  # and with it `running`, if it has not begun

    def _begin(self) -> None:
        torch.set_num_threads(1)
        if self._nice:
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + self._nice))
