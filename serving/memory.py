"""Memory of the server: what photographs may use beside the model, and who waits for it."""

import asyncio
import os
import resource
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from threading import Condition, Event

from model.data import kinds, png, tiff
from model.utils.cores import CGROUP
from model.utils.errors import UserError

_PIXEL = 24  # bytes for each pixel of a photograph of 8 bits: decoded, its L, colored, and encoded
_DEEP = 34  # the same of more than 8 bits
_WEBP = 48  # the same of a WebP, whose encoder takes most
_JPEG_2000 = 34  # the same of a JPEG 2000, whose decoder does
_SAMPLE = 20  # bytes for each pixel of a further sample of 16 bits: colored, and encoded, in the ZIP and outside
_TILE = 60_000_000  # bytes for the tile at work, and for the fields of a and b
_FOR_FILES = 0.25  # share for files that arrive, wait or are sent; the rest is for photographs at work
_FOR_SMALL = 0.2  # share of that rest for small photographs, whatever large ones are at work
_MARGIN = 0.9  # the allocator keeps some of what is freed, and a promotion loads a second model
_POLL = 0.1  # seconds between two looks whether the caller has given up
_PATIENCE = 10.0  # seconds of a transfer, after which it may be ended for others


class FullError(UserError):
    """Raised if there is no memory for a file now; later there may be."""


class NeedsMoreError(UserError):
    """Raised if a photograph needs more memory than the server may ever use for one."""


def needed(pixels: int, samples: int = 1, content: bytes = b"") -> int:
    """Returns the bytes that decoding, coloring and encoding take at most; tests/serving/test_memory.py measures.

    Args:
        pixels: of the photograph.
        samples: number of its colorings.
        content: its file.
    """
    return _TILE + pixels * (_for_a_pixel(content) + _SAMPLE * (samples - 1))


def _for_a_pixel(content: bytes) -> int:
    """Returns the bytes that each pixel of a file takes at most, by its kind."""
    if content[8:12] == b"WEBP":
        return _WEBP
    if content.startswith(kinds.JPEG_2000):
        return _JPEG_2000
    size = 0
    if content.startswith(png.SIGNATURE) and content[24:25] == b"\x10":
        size = 2 * {0: 1, 4: 2, 2: 3}.get(content[25], 4)
    elif content.startswith(tiff.MAGIC):
        size = tiff.deepest(content)
    return max(_DEEP, _PIXEL + 4 * size) if size else _PIXEL


def available(cgroup: Path = CGROUP) -> int:
    """Returns the memory limit of the container, or half of the machine's memory without one, in bytes."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # versions 2 and 1 of control groups
        try:
            limit = int((cgroup / name).read_text(encoding="ascii"))
        except (OSError, ValueError):  # no control group, or "max"
            continue
        if limit < _physical():  # version 1 writes 2^63 for no limit
            return limit
    return _physical() // 2


class Memory:
    """Divides memory among files and photographs at work. Thread-safe.

    A photograph at work waits in its thread until there is memory, in the order of arrival: small ones do not keep a
    large one out. A file that arrives is refused, unless the end of a slow transfer makes room for it.
    """

    def __init__(self, most: int, enforced: bool = False) -> None:
        """
        Args:
            most: bytes that the process may use, with the model.
            enforced: keeps the process itself from using more.
        """
        self._most, self._enforced = most, enforced
        self._at_work = self._files = 0
        self._waiting: deque[object] = deque()
        self._accounts: dict[Files, None] = {}
        self._rest = 0.0
        self._changed = Condition()

    def measure(self) -> None:
        """Finds, once, what is left beside the libraries, the model and its network's work.

        It must be called with a warm model, before the first photograph.
        """
        if not self._rest:
            peak = _status("VmHWM")
            self._rest = max(1.0, _left(self._most, peak))
            if self._enforced:
                _limit_data(self._most - peak)

    @contextmanager
    def work(self, size: int, gone: Event, large: bool = False) -> Iterator[None]:
        """Waits until `size` bytes are free and holds them for the block; `gone` ends the wait.

        A large photograph leaves a share for small ones.

        Raises:
            NeedsMoreError: so much will never be free.
        """
        most = (1 - _FOR_FILES) * (1 - _FOR_SMALL * large) * self._rest
        if size > most:
            needs, may = (f"{bytes / 1e6:.0f} MB" for bytes in (size, most))
            raise NeedsMoreError(f"The photograph needs {needs} of memory, and the server may use {may} for one.")
        turn = object()
        with self._changed:
            self._waiting.append(turn)
            while (self._waiting[0] is not turn or self._at_work + size > most) and not gone.is_set():
                self._changed.wait(_POLL)
            self._waiting.remove(turn)
            self._at_work += size
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._at_work -= size
                self._changed.notify_all()

    @contextmanager
    def files(self) -> Iterator["Files"]:
        """Yields an account for the files of one request; its end frees them."""
        account = Files(self)
        self._accounts[account] = None
        try:
            yield account
        finally:
            del self._accounts[account]
            self._files -= account.size

    def add(self, account: "Files", size: int, *, refuse: bool) -> None:
        """Adds bytes to the files of an account.

        Raises:
            NeedsMoreError: it is to be refused, and its files have more than the share of all files.
            FullError: it is to be refused, and all files together have more, even without the slow transfers.
        """
        most = _FOR_FILES * self._rest
        if refuse and account.size + size > most:
            raise NeedsMoreError(f"The file needs more memory than the server may use for files, {most / 1e6:.0f} MB.")
        if self._files + size > most:
            self._end_slow(self._files + size - most, account)
        if refuse and self._files + size > most:
            raise FullError("The server's memory is full of other photographs; try again soon.")
        self._files += size
        account.size += size

    def _end_slow(self, size: float, account: "Files") -> None:
        """Ends slow transfers of other accounts, the oldest first, until `size` bytes are free."""
        for slow in [one for one in self._accounts if one.slow and one is not account]:
            if size > 0:
                freed = slow.end()
                self._files -= freed
                size -= freed


class Files:
    """Counts the bytes of one request's files. It belongs to the thread of the event loop."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._since = 0.0
        self._transfer: asyncio.Timeout | None = None
        self.size = 0

    def arrive(self, size: int) -> None:
        """Adds bytes that arrived.

        Raises:
            FullError, NeedsMoreError: there is no memory for them, now or ever.
        """
        self._memory.add(self, size, refuse=True)

    def leave(self, size: int) -> None:
        """Adds bytes of an answer, which is never refused: other files are."""
        self._memory.add(self, size, refuse=False)

    @asynccontextmanager
    async def transfer(self) -> AsyncIterator[None]:
        """Marks the block as a transfer, which may be ended when it is slow and others need its memory.

        Raises:
            FullError: it was ended.
        """
        self._since = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(None) as transfer:
                self._transfer = transfer
                yield
        except TimeoutError:
            if not transfer.expired():
                raise
            raise FullError("The server's memory is full, and this transfer is slow; try again later.") from None
        finally:
            self._transfer = None

    @property
    def slow(self) -> bool:
        """Tells whether a transfer is under way and lasts long."""
        return self._transfer is not None and asyncio.get_running_loop().time() - self._since >= _PATIENCE

    def end(self) -> int:
        """Ends the transfer; returns the bytes that this frees."""
        assert self._transfer is not None
        self._transfer.reschedule(0)
        self._transfer, freed, self.size = None, self.size, 0
        return freed


def most_for_one(most: int, base: int) -> float:
    """Returns the bytes for the largest photograph in a process that may use `most` and uses `base` without one."""
    return (1 - _FOR_FILES) * (1 - _FOR_SMALL) * _left(most, base)


def _left(most: int, base: int) -> float:
    return _MARGIN * most - base


def _limit_data(more: int) -> None:
    """Keeps the process from getting more than so many bytes beside those that it has."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = _status("VmData") + max(0, more)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _status(key: str) -> int:
    """Returns bytes of this process: VmHWM is its peak so far, VmData what it has of its own."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{key}:")).split()[1])


def _physical() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
