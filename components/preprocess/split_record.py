"""The record of look-alikes over all data versions, kept beside the checkpoints."""

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.preprocess.look_alikes import Member
from components.preprocess.objects import objects_below
from model.utils.errors import UserError

FOLDER = "splits"

_SCHEMA = pa.schema(
    [
        pa.field("sha256", pa.string()),
        pa.field("hash", pa.uint64()),
        pa.field("mirrored", pa.uint64()),
        pa.field("crops", pa.string()),
        pa.field("first", pa.string()),
    ]
)
_DIGITS = 32  # of the SHA-256 in a file's name
_NAME = re.compile(rf"\d{{8}}-[0-9a-f]{{{_DIGITS}}}\.parquet")


class SplitRecord:
    """Stores the photographs of all data versions with their groups, below `splits`; nothing is ever removed.

    A data version that brings new photographs adds one file, before its dataset appears. The file's name begins with
    its number and holds the SHA-256 of its content. Runs may add files at once: the order of the names decides.

    Args:
        root: folder or s3://bucket/prefix.

    Raises:
        UserError: from every method: S3 refuses or cannot be reached, the folder cannot be read or written, or a file
            is damaged.
    """

    def __init__(self, root: Path | str) -> None:
        self._root = root
        self._files = objects_below(root, FOLDER)

    def read(self) -> list[Member]:
        """Returns all photographs in the order of their coming; of one that is there twice, the first entry holds."""
        return [Member(**row) for name in self._names() for row in self._table(name).to_pylist()]

    def add(self, members: Sequence[Member]) -> None:
        """Adds photographs that the record lacks."""
        if not members:
            return
        content = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([asdict(member) for member in members], schema=_SCHEMA), content)
        digest = hashlib.sha256(content.getvalue()).hexdigest()[:_DIGITS]
        number = max((int(name.partition("-")[0]) for name in self._names()), default=0) + 1
        self._files.write(f"{number:08d}-{digest}.parquet", content.getvalue(), durable=True)

    def _names(self) -> list[str]:
        return [name for name in self._files.names() if _NAME.fullmatch(name)]

    def _table(self, name: str) -> pa.Table:
        content = self._files.read(name) or b""
        digest = name.removesuffix(".parquet").partition("-")[2]
        if hashlib.sha256(content).hexdigest()[:_DIGITS] != digest:
            raise UserError(
                f"{self._root}/{FOLDER}/{name} is damaged: its SHA-256 is not the one in its name; restore it from a "
                "backup, or delete it to draw the splits of its photographs anew."
            )
        return pq.read_table(io.BytesIO(content), schema=_SCHEMA)
