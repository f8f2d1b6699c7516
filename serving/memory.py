"""Memory of the server: what photographs may use beside the model, and who waits for it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Event

from model.utils.cores import CGROUP
from model.utils.errors import UserError

_PIXEL = 34  # bytes for each pixel of a photograph: decoded, its L, colored, and encoded
_WEBP = 48  # the same of a WebP, whose encoder takes most
_SAMPLE = 20  # bytes for each pixel of a further sample of 16 bits: colored, and encoded, in the ZIP and outside
_TILE = 60_000_000  # bytes for the tile at work, and for the fields of a and b
_FOR_FILES = 0.25  # share for files that arrive, wait or are sent; the rest is for photographs at work
_MARGIN = 0.9  # the allocator keeps some of what is freed, and a promotion loads a second model
_POLL = 0.1  # seconds between two looks whether the caller has given up


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
    return _TILE + pixels * ((_WEBP if content[8:12] == b"WEBP" else _PIXEL) + _SAMPLE * (samples - 1))


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

    A photograph at work waits in its thread until there is memory. A file that arrives is refused.
    """

    def __init__(self, most: int) -> None:
        """
        Args:
            most: bytes that the process may use, with the model.
        """
        self._most = most
        self._at_work = self._files = 0
        self._rest = 0.0
        self._changed = Condition()

    def measure(self) -> None:
        """Finds, once, what is left beside the libraries, the model and its network's work.

        It must be called with a warm model, before the first photograph.
        """
        self._rest = self._rest or max(1.0, _left(self._most, _peak()))

    @contextmanager
    def work(self, size: int, gone: Event) -> Iterator[None]:
        """Waits until `size` bytes are free and holds them for the block; `gone` ends the wait.

        Raises:
            NeedsMoreError: so much will never be free.
        """
        most = (1 - _FOR_FILES) * self._rest
        if size > most:
            needs, may = (f"{bytes / 1e6:.0f} MB" for bytes in (size, most))
            raise NeedsMoreError(f"The photograph needs {needs} of memory, and the server may use {may} for one.")
        with self._changed:
            while self._at_work + size > most and not gone.is_set():
                self._changed.wait(_POLL)
            self._at_work += size
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
        try:
            yield account
        finally:
            self.count_files(-account.size)

    def count_files(self, size: int, limited: bool = False) -> None:
        """Adds bytes to those of all files.

        Raises:
            FullError: it is limited, and there are more than the share of files.
        """
        with self._changed:
            if limited and self._files + size > _FOR_FILES * self._rest:
                raise FullError("The server's memory is full of other photographs; try again soon.")
            self._files += size


class Files:
    """Counts the bytes of one request's files."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.size = 0

    def arrive(self, size: int) -> None:
        """Adds bytes that arrived.

        Raises:
            FullError: there is no memory for them.
        """
        self._memory.count_files(size, limited=True)
        self.size += size

    def leave(self, size: int) -> None:
        """Adds bytes of an answer, which is never refused: other files are."""
        self._memory.count_files(size)
        self.size += size


def most_for_one(most: int, base: int) -> float:
    """Returns the bytes for the largest photograph in a process that may use `most` and uses `base` without one."""
    return (1 - _FOR_FILES) * _left(most, base)


def _left(most: int, base: int) -> float:
    return _MARGIN * most - base


def _peak() -> int:
    """Returns the most memory that this process has had so far."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def _physical() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
