"""Small files below a folder or an S3 prefix, which threads and runs share."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from components.shared.s3.client import Address, client, explained, fetch_bytes, is_s3, list_objects
from model.utils.errors import UserError
from model.utils.files import write_aside


class Objects(Protocol):
    """Reads and writes small files by name; each is written whole.

    Raises:
        UserError: from every method: S3 refuses or cannot be reached, or the folder cannot be read or written.
    """

    def read(self, name: str) -> bytes | None:
        """Returns the content of a file, or None if it is missing."""

    def write(self, name: str, content: bytes, *, durable: bool = False) -> None:
        """Writes a file; a durable one is on the disk, whole, before a power cut can follow."""

    def names(self) -> list[str]:
        """Returns the sorted names of the files that lie directly below the root."""

    def trim(self, limit: int) -> None:
        """Removes the least recently used files beyond so many bytes; on S3 the bucket's lifecycle rules do that."""


def objects_below(root: Path | str, name: str) -> Objects:
    """Returns the files below `root`/`name`, where root is a folder or s3://bucket/prefix."""
    return _Bucket(Address.parse(str(root)) / name) if is_s3(root) else _Folder(Path(root) / name)


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

    def write(self, name: str, content: bytes, *, durable: bool = False) -> None:
        path = self._root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_aside(path, content, durable=durable)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}.") from None

    def names(self) -> list[str]:
        try:
            return sorted(entry.name for entry in self._root.iterdir() if not entry.name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"{self._root} cannot be read: {error.strerror}.") from None

    def trim(self, limit: int) -> None:
        entries = sorted(self._entries(), reverse=True)
        kept = 0
        for _, size, path in entries:
            kept += size
            if kept > limit:
                path.unlink(missing_ok=True)

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        for path in self._root.glob("*/[!.]*"):  # hidden ones are being written
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

    def write(self, name: str, content: bytes, *, durable: bool = False) -> None:
        address = self._root / name
        with explained(address):
            self._s3.put_object(**address.object, Body=content)

    def names(self) -> list[str]:
        below = f"{self._root.prefix}/".lstrip("/")
        with explained(self._root):
            found = [entry["Key"].removeprefix(below) for entry in list_objects(self._s3, self._root)]
        return sorted(name for name in found if name and "/" not in name)

    def trim(self, limit: int) -> None:
        pass
