"""Photographs in a folder."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from components.shared.photos.listing import MAX_BYTES, Listed
from model.utils.errors import UserError


class Folder:
    """A folder of photographs; symbolic links to files inside are followed, those to folders are not.

    Raises:
        UserError: there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder; give the folder of photographs.")
        self._folder = folder
        self._real = folder.resolve()

    def listed(self, version: str) -> list[Listed]:
        """Every file, hidden ones aside."""
        return [Listed(path.relative_to(self._folder).as_posix()) for path in self._files()]

    def reason_to_skip(self, file: Listed) -> str:
        """Why a file is not even opened: a link could show what is not the photographs' owner's, a pipe could block."""
        path = self._folder / file.path
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(self._real):
            return "outside: a link that leads out of the folder"
        return "unreadable: neither a file nor a link to one" if path.exists() and not path.is_file() else ""

    def identity(self, file: Listed) -> str:
        """What its content is known by: its SHA-256; empty where it is not to be read."""
        path = self._folder / file.path
        try:
            return digest(path) if path.stat().st_size <= MAX_BYTES else ""
        except OSError:
            return ""

    def unchanged(self, identity: str, sha256: str) -> bool:
        """Whether that is what a file was known by whose content was found to have this SHA-256."""
        return identity == sha256

    def fetch(self, file: Listed, number: int, limit: int | None = None) -> Path:
        """Where the file lies."""
        return self._folder / file.path

    def discard(self, path: Path) -> None:
        """Nothing: what `fetch` gave stays."""

    def _files(self) -> Iterator[Path]:
        for folder, folders, names in os.walk(self._folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Of a file's bytes, in hexadecimal; empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    except OSError:
        return ""
