"""A store of prepared photographs, so that preprocessing a larger set decodes only what is new."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.preprocess.config import PreprocessConfig
from components.preprocess.prepared import Prepared
from components.shared.s3.client import Address, client, explained, fetch_bytes, is_s3
from model.utils.errors import UserError

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
        self._size = config.size
        self._home: _Folder | _Bucket
        self._home = _Bucket(Address.parse(str(root)) / "prepared") if is_s3(root) else _Folder(Path(root) / "prepared")

    def get(self, identity: str) -> Entry | None:
        """Returns the entry of a content, or None."""
        content = self._home.read(self._name(identity))
        if content is None or hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
            return None
        line, _, pixels = content[_DIGEST:].partition(b"\n")  # the line is JSON without line breaks
        lab = np.frombuffer(pixels, dtype=np.uint8).reshape(3, self._size, self._size) if pixels else None
        return Prepared(**json.loads(line)), lab

    def put(self, identity: str, prepared: Prepared, lab: NDArray[np.uint8] | None) -> None:
        """Writes the entry of a content."""
        line = json.dumps(asdict(prepared)).encode()
        body = line + b"\n" + (b"" if lab is None else lab.tobytes())
        self._home.write(self._name(identity), hashlib.sha256(body).digest() + body)

    def trim(self, photographs: int) -> None:
        """Removes the least recently used entries beyond twice the size of so many photographs.

        Removes nothing from S3: there the bucket's lifecycle rules do.
        """
        self._home.trim(2 * photographs * 3 * self._size**2)

    def _name(self, identity: str) -> str:
        name = hashlib.sha256(f"{self._key} {identity}".encode()).hexdigest()
        return f"{name[:2]}/{name[2:]}"


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, name: str) -> bytes | None:
        path = self._root / name
        try:
            content = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}.") from None
        return content

    def write(self, name: str, content: bytes) -> None:
        path = self._root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=path.parent, delete=False
            ) as file:  # two processes may write the same entry
                file.write(content)
            Path(file.name).replace(path)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}.") from None

    def trim(self, limit: int) -> None:
        entries = sorted(self._entries(), reverse=True)
        kept = 0
        for _, size, path in entries:
            kept += size
            if kept > limit:
                path.unlink(missing_ok=True)

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        for path in self._root.glob("*/*"):
            try:
                found = path.stat()
            except FileNotFoundError:  # another run may be trimming
                continue
            yield found.st_mtime, found.st_size, path


class _Bucket:
    def __init__(self, root: Address) -> None:
        self._root, self._s3 = root, client()

    def read(self, name: str) -> bytes | None:
        address = self._root / name
        with explained(address):
            return fetch_bytes(self._s3, address)

    def write(self, name: str, content: bytes) -> None:
        address = self._root / name
        with explained(address):
            self._s3.put_object(**address.object, Body=content)

    def trim(self, limit: int) -> None:
        pass
