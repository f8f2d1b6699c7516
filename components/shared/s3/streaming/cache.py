"""Shards of a dataset in S3, by way of a folder on this node's disk that does not grow beyond a limit.

All processes of the node share the folder, and so do the loaders' workers: what one has fetched is there for all. Locks
are the file system's (flock), so that a killed process holds none; what it had fetched in part is done over by the next
that needs it. Shards lie there by their SHA-256, which is checked before they do.

Room is made by removing what was used least recently, be it in use or not: POSIX keeps a removed file readable for as
long as it is mapped, and `Shards` maps one of a store for the time of a single read.
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
from components.shared.s3.client import Address, client, download, explained, inside
from model.config import TrainConfig
from model.data.format import ShardFile
from model.data.shards import Shards
from model.utils.errors import UserError

_DEFAULT_LIMIT = 8 << 30
_AT_ONCE = 2  # shards that one process fetches ahead; every loader's worker is one
_PARTIAL = ".partial"


def limit() -> int:
    """What COLORIZE_SHARD_CACHE_BYTES says, or 8 GiB.

    Raises:
        UserError: it says no number.
    """
    said = os.environ.get(SHARD_CACHE) or str(_DEFAULT_LIMIT)
    if not said.isdecimal():
        raise UserError(f"{SHARD_CACHE} is {said}; give a number of bytes.")
    return int(said)


@dataclass(frozen=True)
class ShardCache:
    """A `model.data.format.Store`. Pickled or forked, it goes on over the same folder."""

    address: Address
    """Of the dataset."""
    folder: Path
    limit: int
    """Bytes. While the shard that is asked for has no room beside what others fetch, it is exceeded by that shard."""

    @classmethod
    def of(cls, address: Address) -> "ShardCache":
        """The workspace's."""
        return cls(address, workspace() / "cache" / "shards", limit())

    def fetch(self, file: ShardFile) -> Path:
        """
        Raises:
            UserError: S3 refuses or cannot be reached; the shard is missing or damaged there; the disk is full.
        """
        path = self._path(file)
        while not _touched(path):
            self._bring(file, path, needed=True)
        return path

    def expect(self, files: Sequence[ShardFile]) -> None:
        """Fetches in the background; what fails is left to `fetch`."""
        _ahead(self, os.getpid()).expect(files)

    def bring(self, file: ShardFile) -> None:
        """Fetches a shard unless it is here, another process fetches it, or it has no room."""
        path = self._path(file)
        if not path.exists():
            self._bring(file, path, needed=False)

    def _path(self, file: ShardFile) -> Path:
        return inside(self.folder, f"{file.sha256}.npy")

    def _bring(self, file: ShardFile, path: Path, needed: bool) -> None:
        """One attempt; it may end without the shard where another process was quicker."""
        partial, whole = path.with_suffix(_PARTIAL), False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._alone():  # between the two it would look abandoned
                claim = os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
                ours = _locked(claim, wait=False)
            with claim:
                if not (ours or (needed and _locked(claim))) or not _names(partial, claim):
                    return
                try:
                    if not path.exists() and (self._reserve(claim, file.size) or needed):
                        self._download(file, claim)
                        whole = True
                finally:
                    with self._alone():
                        if _names(partial, claim):  # somebody may have cleared the folder meanwhile
                            partial.replace(path) if whole else partial.unlink()
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}; see {SHARD_CACHE}.") from None

    def _download(self, file: ShardFile, out: BinaryIO) -> None:
        source = self.address / file.name
        with explained(source):
            for _ in range(2):  # a proxy may have spoilt it on the way
                if download(_client(self, os.getpid()), source, out) == file.sha256:
                    out.flush()
                    os.fsync(out.fileno())
                    return
        raise UserError(f"{source} is damaged: its SHA-256 is not the one in dataset.json; publish the dataset again.")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else removes or renames meanwhile."""
        with (self.folder / ".lock").open("w") as lock:
            _locked(lock)
            yield

    def _reserve(self, claim: IO[bytes], size: int) -> bool:
        """Removes shards until another of that size has room, and has it take its room at once."""
        with self._alone():
            for abandoned in self.folder.glob(f"*{_PARTIAL}"):
                with abandoned.open("rb") as other:
                    if _locked(other, wait=False) and _names(abandoned, other):
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


class _Ahead:
    """Fetches what is expected, by threads that end with the process, whatever they are at."""

    def __init__(self, cache: ShardCache) -> None:
        self._cache = cache
        self._expected: frozenset[ShardFile] = frozenset()
        self._queue: SimpleQueue[ShardFile] = SimpleQueue()
        _client(cache, os.getpid())  # before threads could make two
        for _ in range(_AT_ONCE):
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
                    self._cache.bring(file)
            except Exception:  # whatever it is, whoever needs the shard meets it again, and says so
                time.sleep(1)


@cache
def _ahead(cache: ShardCache, process: int) -> _Ahead:
    return _Ahead(cache)


@cache
def _client(cache: ShardCache, process: int) -> Any:
    """A forked process must not share its parent's connections."""
    return client()


def require_room(shards: Shards, config: TrainConfig) -> None:
    """Refuses a training that would fetch the same shards over and over.

    Raises:
        UserError: the cache cannot hold two windows of each lane that this node reads.
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
            f"{SHARD_CACHE} allows {shards.store.limit}; raise it, or lower train.shuffle.window (0: all of a lane) or "
            "train.shuffle.lanes."
        )


def _touched(path: Path) -> bool:
    """Whether it is here; if so, it is now the one used most recently."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _locked(file: IO[Any], wait: bool = True) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _names(path: Path, file: IO[bytes]) -> bool:
    """Whether the path still leads to an open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
