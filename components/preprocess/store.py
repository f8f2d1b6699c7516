"""A store of prepared photographs, so that preprocessing a larger set decodes only what is new."""

import hashlib
import json
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.preprocess.config import PreprocessConfig
from components.preprocess.objects import objects_below
from components.preprocess.prepared import Prepared
from components.preprocess.split_record import SplitRecord

Entry = tuple[Prepared, NDArray[np.uint8] | None]
"""The result for a photograph, and its (3, size, size) uint8 LAB unless it was rejected."""

_DIGEST = hashlib.sha256().digest_size


class Store:
    """Stores entries by the identity of a content and everything else that decides on it: size, thresholds, code.

    Threads and runs may share a store: an entry is written whole, and everyone writes the same bytes for it. An entry
    has its SHA-256; a damaged entry counts as missing and is written again.

    Args:
        root: folder or s3://bucket/prefix; entries are below `prepared` there.
        config: section `preprocess`.
        code: hash of the step's code.

    Raises:
        UserError: from every method: S3 refuses or cannot be reached, or the folder cannot be written.
    """

    def __init__(self, root: Path | str, config: PreprocessConfig, code: str) -> None:
        self._key = json.dumps([config.size, config.min_side, config.min_chroma, code])
        self._root, self._size = root, config.size
        self._files = objects_below(root, "prepared")

    @cached_property
    def splits(self) -> SplitRecord:
        """Returns the record of look-alikes beside the entries."""
        return SplitRecord(self._root)

    def get(self, identity: str) -> Entry | None:
        """Returns the entry of a content, or None."""
        content = self._files.read(self._name(identity))
        if content is None or hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
            return None
        line, _, pixels = content[_DIGEST:].partition(b"\n")  # the line is JSON without line breaks
        lab = np.frombuffer(pixels, dtype=np.uint8).reshape(3, self._size, self._size) if pixels else None
        return Prepared(**json.loads(line)), lab

    def put(self, identity: str, prepared: Prepared, lab: NDArray[np.uint8] | None) -> None:
        """Writes the entry of a content."""
        line = json.dumps(asdict(prepared)).encode()
        body = line + b"\n" + (b"" if lab is None else lab.tobytes())
        self._files.write(self._name(identity), hashlib.sha256(body).digest() + body)

    def trim(self, photographs: int) -> None:
        """Removes the least recently used entries beyond twice the size of so many photographs.

        Removes nothing from S3: there the bucket's lifecycle rules do.
        """
        self._files.trim(2 * photographs * 3 * self._size**2)

    def _name(self, identity: str) -> str:
        name = hashlib.sha256(f"{self._key} {identity}".encode()).hexdigest()
        return f"{name[:2]}/{name[2:]}"
