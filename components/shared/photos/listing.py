"""The list of the photographs, cut into partitions: settled once, so that all who read them read the same."""

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from model.data.format import SOURCES

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
"""Of the files that are taken for photographs, in lower case."""

MAX_BYTES = 1 << 30
"""Of a file: what no photograph of at most `MAX_PIXELS` takes, for a worker reads it whole."""

LABELS = "labels.csv"
"""The listing's copy of the CSV that `preprocess.labels` names."""

FOLDER = "folder"
"""As `preprocess.labels`: the first folder's name, and no CSV."""


@dataclass(frozen=True)
class Listed:
    """A file as it was listed, and what tells in S3 whether it is still the same."""

    path: str
    """Below the photographs, with forward slashes; undecodable bytes as `os.fsdecode` has them."""
    md5: str = ""
    """In a DVC remote, where it is the object's name."""
    etag: str = ""
    """Below a plain prefix."""
    size: int = 0
    """Bytes, below a plain prefix."""


def write(folder: Path, files: Sequence[Listed], partitions: int) -> int:
    """Writes the partitions: NNNNN.jsonl, every n-th file in each. Returns how many: none is empty but the only one."""
    count = max(1, min(partitions, len(files)))
    for number in range(count):
        lines = "".join(json.dumps(asdict(file)) + "\n" for file in files[number::count])
        (folder / partition(number)).write_text(lines, encoding="ascii")
    return count


def read(folder: Path, number: int) -> list[Listed]:
    """The files of a partition."""
    with (folder / partition(number)).open(encoding="ascii") as lines:
        return [Listed(**json.loads(line)) for line in lines]


def hidden(path: str) -> bool:
    """Whether a file or a folder on the way to it is."""
    return any(part.startswith(".") for part in PurePosixPath(path).parts)


def tables(labels: str) -> dict[str, str]:
    """Which files among the photographs the listing keeps a copy of, for the merge: path -> name of the copy.

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
    """The name of a partition's file."""
    return f"{number:05d}.jsonl"
