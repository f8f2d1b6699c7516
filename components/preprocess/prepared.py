"""The files of a prepared partition: a row for each input file, and pixels in fixed slots."""

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
    """Stores the result for a file: its hashes and size, and the reason if it is rejected."""

    sha256: str
    width: int | None = None
    height: int | None = None
    reason: str = ""
    hash: int = 0
    """64-bit pHash of the central square's lightness."""
    mirrored: int = 0
    """64-bit pHash of its mirror image."""
    crops: str = ""
    """pHashes of its inner squares (see `crops.crop_hashes`)."""


@dataclass(frozen=True)
class PartRow:
    """Stores the status of a file before duplicates are found: merging may still reject a kept one."""

    path: str
    """Path as in the manifest."""
    prepared: Prepared
    status: Literal["kept", "rejected", "ignored"]
    slot: int
    """Index in the file of pixels of a kept photograph."""


@dataclass(frozen=True)
class Pixels:
    """Reads and writes a file of fixed slots, one (3, size, size) uint8 LAB each, so that memory holds no pixels."""

    descriptor: int
    size: int

    def read(self, slot: int) -> NDArray[np.uint8]:
        """Returns the (3, size, size) uint8 LAB of a slot."""
        lab = np.empty((3, self.size, self.size), dtype=np.uint8)
        os.preadv(self.descriptor, [lab.data], slot * lab.nbytes)
        return lab

    def write(self, slot: int, lab: NDArray[np.uint8]) -> None:
        """Writes the (3, size, size) uint8 LAB of a slot; raises OSError if the disk is full."""
        if os.pwrite(self.descriptor, lab.data, slot * lab.nbytes) < lab.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_rows(part: Path) -> Iterator[PartRow]:
    """Yields the rows that `prepare_part` wrote, one for each file."""
    with (part / ROWS).open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield PartRow(**{**row, "prepared": Prepared(**row["prepared"])})
