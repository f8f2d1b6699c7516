"""Record of how each picture of a folder was made. It lets `colorize photo` resume and never confuse two pictures."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from model.utils.files import append_line, read_lines, write_aside

NAME = ".colorized.jsonl"


@dataclass(frozen=True)
class Origin:
    """Holds everything that a picture depends on."""

    photograph: str
    """Its path relative to the output folder, under its own name: album/old.jpg."""
    photograph_sha256: str
    weights_sha256: str
    """SHA-256 of the generator's weights."""
    seed: int
    label: str | None
    number: int | None
    """Number of the sample in the picture's name, from 1; None for a single sample."""
    strength: float = 1.0  # missing in older records, as are hints
    hints_sha256: str | None = None
    """SHA-256 of the file of hints; None without one."""
    marked: bool = True  # older pictures, which are not, count as finished all the same
    keep_alpha: bool = False
    signed: bool = False
    like_sha256: str | None = None
    """SHA-256 of the reference; None without one."""


class Record:
    """Stores the origin, name and SHA-256 of every picture of a folder in `.colorized.jsonl`, one line each.

    The record is a separate file because BMP holds no metadata. The SHA-256 shows whether a picture was retouched.
    """

    def __init__(self, folder: Path) -> None:
        """Reads the record if it exists. Skips lines that are incomplete or in another format."""
        self._folder = folder
        self._lines = dict(_lines(folder / NAME))
        self._photographs = {origin.photograph for origin in self._lines}

    def knows(self, photograph: str) -> bool:
        """Returns whether the record has any picture of a photograph of that name."""
        return photograph in self._photographs

    def find(self, origin: Origin) -> Path | None:
        """Returns the picture of this origin if it exists unchanged, else None."""
        if origin not in self._lines:
            return None
        name, sha256 = self._lines[origin]
        picture = self._folder / Path(origin.photograph).parent / name
        try:
            return picture if sha256_of(picture) == sha256 else None
        except OSError:
            return None

    def write(self, picture: Path, content: bytes, origin: Origin) -> None:
        """Writes a picture atomically. Threads and processes may call it at the same time.

        The line is written first. A kill after it leaves a line without a picture, and the next call makes the picture
        again. A picture without a line cannot occur.
        """
        picture.parent.mkdir(parents=True, exist_ok=True)
        line = {"picture": picture.name, "sha256": hashlib.sha256(content).hexdigest(), **asdict(origin)}
        append_line(self._folder / NAME, line)
        write_aside(picture, content)


def results(folder: Path) -> set[Path]:
    """Returns the pictures that the record of a folder names, if it has one."""
    return {folder / Path(origin.photograph).parent / name for origin, (name, _) in _lines(folder / NAME)}


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file as hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lines(path: Path) -> Iterator[tuple[Origin, tuple[str, str]]]:
    for values in read_lines(path):
        with suppress(TypeError, KeyError):  # of another version, or of somebody else
            made = str(values.pop("picture")), str(values.pop("sha256"))
            origin = Origin(**values)
            hash((origin, Path(origin.photograph)))  # of values that can be an origin's
            yield origin, made
