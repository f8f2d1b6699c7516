"""The list of photographs of a run, in partitions."""

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from model.data.kinds import SOURCES

MAX_BYTES = 1 << 30
"""Largest file that is read. A worker holds it in memory, and no photograph of `MAX_PIXELS` is larger."""

LABELS = "labels.csv"
"""Name of the listing's copy of the CSV file in `preprocess.labels`."""

LATEST = "latest"
"""Version that stands for the one published last in a DVC remote, or for everything below a plain prefix."""

FOLDER = "folder"
"""Value of `preprocess.labels` that takes the name of the first folder as the label."""


@dataclass(frozen=True)
class Listed:
    """Holds a listed file and what identifies its content in S3."""

    path: str
    """Path below the photographs, with forward slashes; undecodable bytes as in `os.fsdecode`."""
    md5: str = ""
    """MD5 in a DVC remote, where it names the object."""
    etag: str = ""
    """ETag of an object below a plain prefix."""
    size: int = 0
    """Size in bytes of an object below a plain prefix."""


def write(folder: Path, files: Sequence[Listed], partitions: int) -> int:
    """Writes the partitions NNNNN.jsonl, every n-th file in each; returns their number. Only a single one is empty."""
    count = max(1, min(partitions, len(files)))
    for number in range(count):
        lines = "".join(json.dumps(asdict(file)) + "\n" for file in files[number::count])
        (folder / partition(number)).write_text(lines, encoding="ascii")
    return count


def read(folder: Path, number: int) -> list[Listed]:
    """Reads the files of a partition."""
    with (folder / partition(number)).open(encoding="ascii") as lines:
        return [Listed(**json.loads(line)) for line in lines]


def hidden(path: str) -> bool:
    """Tells whether a file or one of its folders is hidden."""
    return any(part.startswith(".") for part in PurePosixPath(path).parts)


def tables(labels: str) -> dict[str, str]:
    """Returns the tables that the listing copies for the merge: path below the photographs -> name of the copy.

    Args:
        labels: `preprocess.labels`.
    """
    csv = {PurePosixPath(labels).as_posix(): LABELS} if labels not in ("", FOLDER) else {}
    return {SOURCES: SOURCES, **csv}


def hand_on_sources(folder: Path, dataset: Path) -> None:
    """Copies the listing's table of sources, if it has one, into a dataset."""
    with suppress(FileNotFoundError):
        shutil.copyfile(folder / SOURCES, dataset / SOURCES)


def partition(number: int) -> str:
    """Returns the file name of a partition."""
    return f"{number:05d}.jsonl"
