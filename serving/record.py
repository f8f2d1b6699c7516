"""What made each picture of a folder: the same coloring goes on where it was cut off, and none is taken for another."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from model.utils.files import write_aside

NAME = ".colorized.jsonl"


@dataclass(frozen=True)
class Origin:
    """All that a picture depends on."""

    photograph: str
    """Where it would lie in the folder of pictures, under its own name: album/old.jpg."""
    photograph_sha256: str
    weights_sha256: str
    """Of the generator's."""
    seed: int
    label: str | None
    number: int | None
    """Of the sample, from 1, as the picture's name has it; None where only one was asked for."""


class Ledger:
    """`.colorized.jsonl` in a folder of pictures: a line for each, with its origin, its name and its SHA-256.

    A file beside them and no metadata in them: BMP holds none, and a line tells a picture from one retouched since.
    """

    def __init__(self, folder: Path) -> None:
        """Reads the file if there is one; lines that a power cut tore, or that another version wrote, do not count."""
        self._folder = folder
        self._lines = dict(_lines(folder / NAME))
        self._photographs = {origin.photograph for origin in self._lines}

    def knows(self, photograph: str) -> bool:
        """Whether any picture was ever made of a photograph of that name."""
        return photograph in self._photographs

    def find(self, origin: Origin) -> Path | None:
        """The picture of this origin, if it is there as it was made."""
        if origin not in self._lines:
            return None
        name, sha256 = self._lines[origin]
        picture = self._folder / Path(origin.photograph).parent / name
        try:
            return picture if sha256_of(picture) == sha256 else None
        except OSError:
            return None

    def write(self, picture: Path, content: bytes, origin: Origin) -> None:
        """Writes a picture, whole or not at all. Threads and processes may do so at once.

        Its line comes first: a kill in between leaves a line without its picture, which is then made again, and never a
        picture that nobody knows.
        """
        picture.parent.mkdir(parents=True, exist_ok=True)
        line = {"picture": picture.name, "sha256": hashlib.sha256(content).hexdigest(), **asdict(origin)}
        with (self._folder / NAME).open("ab", buffering=0) as file:
            file.write(
                f"\n{json.dumps(line)}".encode()
            )  # in one piece, at the end, and after a torn line none the less
            os.fsync(file.fileno())
        write_aside(picture, content)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lines(path: Path) -> Iterator[tuple[Origin, tuple[str, str]]]:
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            values = json.loads(line)
            made = str(values.pop("picture")), str(values.pop("sha256"))
            yield Origin(**values), made
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
