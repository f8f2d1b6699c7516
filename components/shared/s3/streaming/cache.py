"""Cache of streamed shards: a folder of limited size on this node's disk.

All processes of the node and the workers of their loaders share the folder. Locks are the file system's (flock), so
that a killed process holds none; the next process that needs its unfinished shard downloads that shard again. The name
of a shard is its SHA-256, which is checked before the shard gets the name.

The cache makes room by removing the shards used least recently, also while they are read: POSIX keeps a removed file
readable as long as it is mapped, and `Shards` maps a cached shard only for the time of one read.
"""

import fcntl
import math
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, BinaryIO

from components.shared.machine.workspace import SHARD_CACHE, workspace
from components.shared.s3.client import Address, client, explained, fetch, safe_join
from model.config import TrainConfig
from model.data.format import ShardFile
from model.data.shards import Shards
from model.utils.errors import UserError
from model.utils.files import is_current

_DEFAULT_LIMIT = 8 << 30
_PREFETCH_THREADS = 2  # in each process that reads; every worker of a loader is one
_PARTIAL = ".partial"


def size_limit() -> int:
    """Returns COLORIZE_SHARD_CACHE_BYTES, 8 GiB by default.

    Raises:
        UserError: the variable holds no number.
    """
    value = os.environ.get(SHARD_CACHE) or str(_DEFAULT_LIMIT)
    if not value.isdecimal():
        raise UserError(f"{SHARD_CACHE} is {value}; give a number of bytes.")
    return int(value)


@dataclass(frozen=True)
class ShardCache:
    """Fetches shards of one dataset through the folder, as a `model.data.format.Store`. It can be pickled and forked.

    Attributes:
        address: address of the dataset.
        folder: folder of the cache; made when missing.
        limit: bytes. A shard that is needed now exceeds it while other downloads hold the room.
    """

    address: Address
    folder: Path
    limit: int

    @classmethod
    def in_workspace(cls, address: Address) -> "ShardCache":
        """Returns the cache in the workspace."""
        return cls(address, workspace() / "cache" / "shards", size_limit())

    def fetch(self, file: ShardFile) -> Path:
        """Returns the path of a shard, which is downloaded when missing.

        Raises:
            UserError: S3 refuses or cannot be reached; the shard is missing or damaged there; the disk is full.
        """
        path = self._path(file)
        while not _mark_used(path):
            self._try_download(file, path, needed=True)
        return path

    def expect(self, files: Sequence[ShardFile]) -> None:
        """Downloads shards in the background; leaves every failure to `fetch`."""
        _prefetcher(self, os.getpid()).expect(files)

    def prefetch(self, file: ShardFile) -> None:
        """Downloads a shard unless it is here, another process downloads it, or the cache has no room for it."""
        path = self._path(file)
        if not path.exists():
            self._try_download(file, path, needed=False)

    def _path(self, file: ShardFile) -> Path:
        return safe_join(self.folder, f"{file.sha256}.npy")

    def _try_download(self, file: ShardFile, path: Path, needed: bool) -> None:
        """Downloads a shard once; may end without it when another process was quicker."""
        partial, whole = path.with_suffix(_PARTIAL), False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._exclusive():  # an unlocked claim would look abandoned
                claim = os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
                ours = _lock(claim, wait=False)
            with claim:
                if not (ours or (needed and _lock(claim))) or not is_current(partial, claim.fileno()):
                    return
                try:
                    if not path.exists() and (self._reserve(claim, file.size) or needed):
                        self._download(file, claim)
                        whole = True
                finally:
                    with self._exclusive():
                        if is_current(partial, claim.fileno()):  # another process may have cleared the folder
                            partial.replace(path) if whole else partial.unlink()
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}; see {SHARD_CACHE}.") from None

    def _download(self, file: ShardFile, out: BinaryIO) -> None:
        source = self.address / file.name
        with explained(source):
            for _ in range(2):  # a proxy may have damaged the first answer
                if fetch(_client(self, os.getpid()), source, out) == file.sha256:
                    out.flush()
                    os.fsync(out.fileno())
                    return
        raise UserError(f"{source} is damaged: its SHA-256 is not the one in dataset.json; publish the dataset again.")

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keeps every other process from removing and renaming files."""
        with (self.folder / ".lock").open("w") as lock:
            _lock(lock)
            yield

    def _reserve(self, claim: IO[bytes], size: int) -> bool:
        """Removes shards until the cache has room for this size, and takes the room by growing the claim."""
        with self._exclusive():
            for abandoned in self.folder.glob(f"*{_PARTIAL}"):
                with abandoned.open("rb") as other:
                    if _lock(other, wait=False) and is_current(abandoned, other.fileno()):
                        abandoned.unlink()
            os.truncate(claim.fileno(), 0)
            held = {path: path.stat() for path in self.folder.iterdir()}
            free = self.limit - sum(stat.st_size for stat in held.values())
            for path in sorted(held, key=lambda path: held[path].st_mtime_ns):
                if free < size and path.suffix == ".npy":
                    path.unlink()
                    free += held[path].st_size
            if free >= size:
                os.truncate(claim.fileno(), size)
            return free >= size


class _Prefetcher:
    """Downloads expected shards in daemon threads, which end with the process."""

    def __init__(self, cache: ShardCache) -> None:
        self._cache = cache
        self._expected: frozenset[ShardFile] = frozenset()
        self._queue: SimpleQueue[ShardFile] = SimpleQueue()
        _client(cache, os.getpid())  # the threads share one
        for _ in range(_PREFETCH_THREADS):
            threading.Thread(target=self._work, name="shards from S3", daemon=True).start()

    def expect(self, files: Sequence[ShardFile]) -> None:
        for file in files:
            if file not in self._expected:
                self._queue.put(file)
        self._expected = frozenset(files)

    def _work(self) -> None:
        while True:
            file = self._queue.get()
            try:
                if file in self._expected:
                    self._cache.prefetch(file)
            except Exception:  # `fetch` meets the same failure and reports it
                time.sleep(1)


@cache
def _prefetcher(cache: ShardCache, process: int) -> _Prefetcher:
    return _Prefetcher(cache)


@cache
def _client(cache: ShardCache, process: int) -> Any:
    """Returns the client of one process: a forked process must not share its parent's connections."""
    return client()


def check_cache_size(shards: Shards, config: TrainConfig) -> None:
    """Refuses a training that would download the same shards again and again.

    Raises:
        UserError: the cache is smaller than two windows of each lane that this node reads.
    """
    if not isinstance(shards.store, ShardCache) or not shards.files:
        return
    processes, here = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    lanes = math.ceil(config.shuffle.lanes * here / processes)
    of_lane = math.ceil(len(shards.files) / config.shuffle.lanes) + 1
    window = min(config.shuffle.window or of_lane, of_lane)
    needed = min(2 * window * lanes, len(shards.files)) * max(file.size for file in shards.files)
    if needed > shards.store.limit:
        raise UserError(
            f"Training reads two windows of {window} shards from {lanes} lanes at a time, {needed} bytes, and "
            f"{SHARD_CACHE} allows {shards.store.limit}; raise it, or lower train.shuffle.window (0 is the whole "
            "lane) or train.shuffle.lanes."
        )


def _mark_used(path: Path) -> bool:
    """Marks a file as the one used most recently; returns False when it is missing."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _lock(file: IO[Any], wait: bool = True) -> bool:
    """Locks an open file until it is closed; returns False when another process holds it and `wait` is off."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
