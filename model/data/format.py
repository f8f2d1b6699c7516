"""The format of a dataset folder: the manifest's rows, dataset.json, the headers of .npy shards, and their checks."""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
import pyarrow as pa

from model.utils.errors import Damaged, UserError

SCHEMA_VERSION = 2
ENCODING = "uint8 (N, 3, size, size): L * 255 / 100, a + 128, b + 128"
PER_SHARD = 1024
"""Photographs in a full shard."""
FIX = "run preprocess again or fetch the dataset again"
"""Advice for a file that is missing or damaged."""

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Row:
    """Stores an input file's line in manifest.parquet."""

    path: str
    """Relative to the folder of photographs, with forward slashes."""
    sha256: str
    """SHA-256 of the file's bytes, in hexadecimal."""
    width: int | None
    """Width of the upright photograph in pixels; null if the file is unreadable."""
    height: int | None
    """Height of the upright photograph in pixels; null if the file is unreadable."""
    split: Split | None
    """null unless the photograph is kept."""
    status: Literal["kept", "rejected", "ignored"]
    """`ignored`: the suffix is not that of a photograph."""
    reason: str
    """Reason for `rejected` or `ignored`; else empty."""
    label: str | None = None
    """null unless the photograph is kept and has a label."""


MANIFEST = pa.schema(
    [
        pa.field("path", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("split", pa.string()),
        pa.field("status", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("label", pa.string()),
    ]
)
"""Schema of manifest.parquet."""


@dataclass(frozen=True)
class ShardFile:
    """Stores a shard's entry in dataset.json."""

    name: str
    photographs: int
    sha256: str
    size: int
    """Length of the file in bytes."""


class ShardStore(Protocol):
    """Provides shards that do not all fit on this disk at once; may be pickled."""

    def fetch(self, file: ShardFile) -> Path:
        """Returns the path of a local copy of a shard; the store may remove it later.

        Raises:
            UserError: the shard is unavailable or damaged. Names it.
        """

    def expect(self, files: Sequence[ShardFile]) -> None:
        """Starts to fetch shards in the background."""


def read_description(folder: Path) -> dict[str, Any]:
    """Reads dataset.json and checks its schema version and keys.

    Raises:
        UserError: the file is missing, unreadable, incomplete or of another schema version. Names it.
    """
    path = folder / "dataset.json"
    try:
        description = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{folder} is not a dataset: it has no dataset.json; run preprocess first.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); {FIX}.") from None
    version = description.get("schema_version") if isinstance(description, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path}: schema_version is {version!r}, this program reads {SCHEMA_VERSION}; run preprocess again."
        )
    if missing := {"size", "data_version", "shards", "manifest"} - description.keys():
        raise UserError(f"{path} lacks {', '.join(sorted(missing))}; {FIX}.")
    return cast(dict[str, Any], description)


def npy_header(shape: tuple[int, ...]) -> bytes:
    """Returns the first bytes of a .npy file that holds a uint8 array of this shape."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def check_shard(path: Path, shape: tuple[int, ...]) -> None:
    """Checks that a shard's header and length are those of a uint8 array of this shape.

    Raises:
        UserError: they differ, or the file cannot be read. Names the file.
    """
    try:
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("another version of the .npy format")
            found, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
            expected_bytes = file.tell() + int(np.prod(shape))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {FIX}.") from None
    except ValueError as error:
        raise UserError(f"{path} is not a .npy shard ({error}); {FIX}.") from None
    if found != shape or fortran_order or dtype != np.uint8:
        raise UserError(f"{path} holds {dtype} {found}, dataset.json says uint8 {shape}; {FIX}.")
    if (size := path.stat().st_size) != expected_bytes:
        raise UserError(f"{path} has {size} bytes instead of {expected_bytes}: it is truncated or damaged; {FIX}.")


def verify(folder: Path) -> None:
    """Reads every file of a dataset and compares its SHA-256 with the one in dataset.json.

    Raises:
        UserError: as `read_description`; or a file cannot be read. Names the file.
        Damaged: a file's content differs. Names the file.
    """
    description = read_description(folder)
    entries = [description["manifest"], *(entry for split in SPLITS for entry in description["shards"][split])]
    for entry in entries:
        path = folder / entry["file"]
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); {FIX}.") from None
        if found != entry["sha256"]:
            raise Damaged(f"{path} is damaged: its SHA-256 is not the one in dataset.json; {FIX}.", folder)
