"""Atomic writing of files and folders, and journals of JSON lines.

A file or a folder is written under a random name of its own in the same folder, put on the disk, and then takes its
place in one step of the file system. So whoever looks finds the old or the new one, whole, whenever a process is killed
or the power fails, and however many processes write at once.
"""

import ctypes
import errno
import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from model.utils.errors import UserError

_PARTIAL = re.compile(r"\.[0-9a-f]{16}\.partial")  # short, so that names of 255 bytes can be written
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def write_aside(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Writes a file so that a kill or a power cut leaves the old or the new content, never a part.

    Args:
        path: the file; its folder exists. Several processes may write it at once: one of the contents stays.
        content: of the file.
        durable: puts the file on the disk before it returns. Without it a power cut may leave a part, so the reader
            checks the content.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    with _partial(path, partial(Path.touch, exist_ok=False)) as aside:
        aside.write_bytes(content)
        if durable:
            _sync(aside)
        aside.replace(path)
        if durable:
            _sync(path.parent)


@contextmanager
def folder_aside(folder: Path, marker: str) -> Iterator[Path]:
    """Yields an empty folder that replaces `folder` at the end of the block, and is removed after an exception.

    Args:
        folder: the output folder; its parents are created. An older output there is replaced in one step. Of several
            processes that write it at once, the last one's output stays. Of a link, the folder it leads to is replaced.
        marker: a file that every such output holds, so that a slip such as `--out ~` deletes nothing else.

    Raises:
        UserError: `folder` is a file, or a folder with content but without the marker; or it has an older output, and
            its file system cannot replace a folder in one step.
        OSError: it cannot be written; what was there stays.
    """
    folder = Path(os.path.realpath(folder))
    filled = folder.is_dir() and any(folder.iterdir())
    if (folder.exists() and not folder.is_dir()) or (filled and not (folder / marker).is_file()):
        raise UserError(
            f"{folder} exists and is not an earlier output of this step (no {marker}); choose another folder."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _partial(folder, Path.mkdir) as aside:
        if filled:
            _require_exchange(folder, aside)
        yield aside
        for parent, _, names in os.walk(aside):
            for path in (*(Path(parent, name) for name in names), Path(parent)):
                _sync(path)
        try:
            aside.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            _exchange(aside, folder)
        _sync(folder.parent)


@contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """Yields an empty folder beside a path, on the same disk, and removes it.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _partial(path, Path.mkdir) as folder:
        yield folder


def append_line(path: Path, values: dict[str, Any]) -> None:
    """Appends a line to a journal and puts it on the disk. Threads and processes may call it at the same time.

    It first ends the torn line that a full disk or a power cut may have left.

    Raises:
        OSError: the line cannot be written.
    """
    new = not path.exists()
    with path.open("ab+", buffering=0) as file:
        _lock(file.fileno())
        size = file.seek(0, os.SEEK_END)
        torn = size and os.pread(file.fileno(), 1, size - 1) != b"\n"
        line = f"{chr(10) if torn else ''}{json.dumps(values)}\n".encode()
        if file.write(line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(file.fileno())
    if new:
        _sync(path.parent)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the lines of a journal, if it exists. A torn line is one that was not written."""
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with suppress(ValueError, RecursionError):
            values = json.loads(line)
            if isinstance(values, dict):
                yield values


def is_current(path: Path, handle: int) -> bool:
    """Tells whether a path still leads to an open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


@contextmanager
def _partial(target: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """Makes a file or a folder beside another and holds its lock; removes in the end what still has its name."""
    _remove_abandoned(target.parent)
    while True:
        path = target.with_name(f".{secrets.token_hex(8)}.partial")
        try:
            make(path)
        except OSError as error:
            error.filename = str(target)
            raise
        with suppress(FileNotFoundError):  # another process took it for abandoned, before the lock
            handle = os.open(path, os.O_RDONLY)
            _lock(handle)
            if is_current(path, handle):
                break
            os.close(handle)
    try:
        yield path
    finally:
        _remove(path)
        os.close(handle)


@cache
def _remove_abandoned(folder: Path) -> None:
    """Removes what killed processes left in a folder, once in the life of this process: nobody holds its lock."""
    for path in folder.glob(".*.partial"):
        with suppress(OSError):  # in use, or of another user
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _PARTIAL.fullmatch(path.name) and is_current(path, handle):
                    _remove(path)
            finally:
                os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _require_exchange(folder: Path, scratch: Path) -> None:
    """Raises UserError if the file system cannot exchange two folders, as NFS cannot."""
    pair = scratch / "1", scratch / "2"
    for path in pair:
        path.mkdir()
    try:
        _exchange(*pair)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        raise UserError(
            f"{folder} exists, and its file system cannot replace a folder in one step; remove it, or choose another."
        ) from None
    for path in pair:
        path.rmdir()


def _exchange(first: Path, second: Path) -> None:
    """Exchanges two paths in one step; Python has no function for it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(second))


def _lock(handle: int) -> None:
    with suppress(OSError):  # some network file systems have no locks: there nothing looks abandoned
        fcntl.flock(handle, fcntl.LOCK_EX)


def _sync(path: Path) -> None:
    """Puts a file's content, or a folder's list of names, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a network file system may have no such thing for a folder
            raise
    finally:
        os.close(handle)
