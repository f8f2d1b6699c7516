"""A partition on the disk once it is prepared: each file's fate in rows.jsonl, and photographs in a file of slots."""

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ROWS, PIXELS = "rows.jsonl", "pixels"


@dataclass(frozen=True)
class Prepared:
    """What became of a file: the reason it is rejected, or an empty one, perceptual hashes, and pixels in its slot."""

    sha256: str
    width: int | None = None
    height: int | None = None
    reason: str = ""
    hash: int = 0
    """pHash of 64 bits of the central square's lightness."""
    mirrored: int = 0
    """pHash of its mirror image."""


@dataclass(frozen=True)
class PartRow:
    """A file's fate as far as it depends on no other file: of those kept so far, some will turn out as duplicates."""

    path: str
    """As in the manifest."""
    prepared: Prepared
    status: Literal["kept", "rejected", "ignored"]
    slot: int
    """Its place in the file of pixels, of what is kept."""


@dataclass(frozen=True)
class Pixels:
    """A file of fixed slots, one per photograph: (3, size, size) uint8 LAB. So no pixels gather in memory."""

    descriptor: int
    size: int

    def read(self, slot: int) -> NDArray[np.uint8]:
        """The (3, size, size) LAB of a slot."""
        lab = np.empty((3, self.size, self.size), dtype=np.uint8)
        os.preadv(self.descriptor, [lab.data], slot * lab.nbytes)
        return lab

    def write(self, slot: int, lab: NDArray[np.uint8]) -> None:
        if os.pwrite(self.descriptor, lab.data, slot * lab.nbytes) < lab.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_rows(part: Path) -> Iterator[PartRow]:
    """What `prepare_part` wrote of each file."""
    with (part / ROWS).open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield PartRow(**{**row, "prepared": Prepared(**row["prepared"])})
