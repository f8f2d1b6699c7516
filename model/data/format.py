"""The files of a dataset folder, each held against what is expected of it: dataset.json and the .npy shards."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from model.utils.errors import UserError

SCHEMA_VERSION = 2
FIX = "run preprocess again or fetch the dataset again"
"""What to do about a file that is not as it should be."""


@dataclass(frozen=True)
class ShardFile:
    """A shard as dataset.json has it."""

    name: str
    photographs: int
    sha256: str
    size: int
    """In bytes."""


class Store(Protocol):
    """Shards that do not all lie on this disk at once; may be pickled."""

    def fetch(self, file: ShardFile) -> Path:
        """Brings a shard here, where it stays for a while.

        Raises:
            UserError: it cannot be had, or is damaged. Names it.
        """

    def expect(self, files: Sequence[ShardFile]) -> None:
        """Begins to bring shards here, and does not wait."""


def npy_header(shape: tuple[int, ...]) -> bytes:
    """How a uint8 shard of that shape begins."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def describe(folder: Path) -> dict[str, Any]:
    """dataset.json, checked to be of this schema."""
    path = folder / "dataset.json"
    try:
        description = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{folder} is no dataset: it has no dataset.json; run preprocess first.") from None
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


def check_shard(path: Path, shape: tuple[int, ...]) -> None:
    """Refuses a shard whose header or length is not that of a uint8 array of this shape."""
    try:
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("another version of the .npy format")
            found, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
            expected_bytes = file.tell() + int(np.prod(shape))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {FIX}.") from None
    except ValueError as error:
        raise UserError(f"{path} is no .npy shard ({error}); {FIX}.") from None
    if found != shape or fortran_order or dtype != np.uint8:
        raise UserError(f"{path} holds {dtype} {found}, dataset.json says uint8 {shape}; {FIX}.")
    if (size := path.stat().st_size) != expected_bytes:
        raise UserError(f"{path} has {size} bytes instead of {expected_bytes}: it is truncated or damaged; {FIX}.")
