"""Atomic writing of files and folders: under a temporary name in the same folder, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.utils.errors import UserError


def write_aside(path: Path, content: bytes) -> None:
    """Writes a file so that a kill or a power cut leaves the old or the new content, never a part."""
    aside = _aside(path)
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


@contextmanager
def folder_aside(folder: Path, marker: str) -> Iterator[Path]:
    """Yields an empty folder that replaces `folder` at the end of the block, and is removed after an exception.

    Args:
        folder: the output folder; its parents are created. An older output there is replaced.
        marker: a file that every such output holds, so that a slip such as `--out ~` deletes nothing else.

    Raises:
        UserError: `folder` is a file, or a folder with content but without the marker.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / marker).is_file())):
        raise UserError(
            f"{folder} exists and is not an earlier output of this step (no {marker}); choose another folder."
        )
    aside, old = _aside(folder), folder.with_name(f".{folder.name}.old")
    for leftover in (aside, old):
        shutil.rmtree(leftover, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(old)
    aside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")
