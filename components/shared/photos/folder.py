"""A folder as a source of photographs."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from components.shared.photos.excluded import Excluded
from components.shared.photos.listing import MAX_BYTES, Listed
from model.utils.errors import UserError


class Folder:
    """Reads photographs from a folder. Links to files inside it are followed, links to folders are not.

    Raises:
        UserError: there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder; give the folder of photographs.")
        self._folder = folder.absolute()
        self._real = folder.resolve()

    def listed(self, version: str) -> list[Listed]:
        """Lists every file that is not hidden, and that no .dvcignore excludes."""
        return [Listed(path.relative_to(self._folder).as_posix()) for path in self._files()]

    def reason_to_skip(self, file: Listed) -> str:
        """Returns why a file must not be opened (a link out of the folder, a pipe); empty if it may be."""
        path = self._folder / file.path
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(self._real):
            return "outside: a link that leads out of the folder"
        return f"unreadable: {reason}" if (reason := reason_to_pass(self._folder, file.path)) else ""

    def identity(self, file: Listed) -> str:
        """Returns the SHA-256 of a file as its identity; empty if it is too large or unreadable."""
        path = self._folder / file.path
        try:
            return digest(path) if path.stat().st_size <= MAX_BYTES else ""
        except OSError:
            return ""

    def unchanged(self, identity: str, sha256: str) -> bool:
        """Tells whether a file with this identity still has the content of this SHA-256."""
        return identity == sha256

    def fetch(self, file: Listed, number: int, limit: int | None = None) -> Path:
        """Returns the path of a file."""
        return self._folder / file.path

    def discard(self, path: Path) -> None:
        """Keeps the file: it belongs to the folder."""

    def passed_by(self) -> list[str]:
        """Returns a sentence for each file that cannot be read or is excluded: its path and the reason."""
        sentences = []
        for path, excluded_by in self._walk():
            name = path.relative_to(self._folder).as_posix()
            if excluded_by:
                sentences.append(printable(f"{name}: {os.path.relpath(excluded_by, self._folder)} excludes it."))
            elif reason := reason_to_pass(self._folder, name):
                sentences.append(printable(f"{name}: {reason}."))
        return sentences

    def _files(self) -> Iterator[Path]:
        return (path for path, excluded_by in self._walk() if not excluded_by)

    def _walk(self) -> Iterator[tuple[Path, Path | None]]:
        """Yields each file, and each file or folder that a .dvcignore excludes with that .dvcignore."""
        excluded = Excluded(self._folder)
        for folder, folders, names in os.walk(self._folder):
            excluded.enter(Path(folder))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for path in [Path(folder, name) for name in folders]:
                if by := excluded.by(path, is_folder=True):
                    folders.remove(path.name)
                    yield path, by
            for path in [Path(folder, name) for name in sorted(names) if not name.startswith(".")]:
                yield path, excluded.by(path)


def reason_to_pass(folder: Path, name: str) -> str:
    """Returns why a path below a folder is passed by unopened, such as a pipe; empty if it can be read as a file."""
    try:
        name.encode()
        mode = (folder / name).stat().st_mode
    except UnicodeEncodeError:
        return "a name that is not UTF-8"
    except OSError as error:
        reasons = {errno.ENOENT: "a link that leads nowhere", errno.ELOOP: "a link that leads to itself"}
        return reasons.get(error.errno or 0, "")  # the reader of the file reports any other error
    return "" if stat.S_ISREG(mode) else "neither a file nor a link to one"


def printable(text: str) -> str:
    """Replaces the unprintable characters of a text: a file's name may hold escape sequences for the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Returns the hexadecimal digest of a file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    except OSError:
        return ""
