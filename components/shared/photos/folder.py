"""A folder as a source of photographs."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from components.shared.photos.listing import MAX_BYTES, Listed
from model.utils.errors import UserError

IGNORE = ".dvcignore"
"""Name of a file that DVC takes in no folder of photographs, where it would hide some from the version."""


class Folder:
    """Reads photographs from a folder. Links to files inside it are followed, links to folders are not.

    Raises:
        UserError: there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder; give the folder of photographs.")
        self._folder = folder
        self._real = folder.resolve()

    def listed(self, version: str) -> list[Listed]:
        """Lists every file that is not hidden."""
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
        """Returns a sentence for each file that cannot be read, or has no effect: its path and the reason."""
        names = (path.relative_to(self._folder).as_posix() for path in self._files(IGNORE))
        reasons = ((name, reason_to_pass(self._folder, name)) for name in names)
        return [printable(f"{name}: {reason}.") for name, reason in reasons if reason]

    def _files(self, hidden: str = "") -> Iterator[Path]:
        """Yields each file that is not hidden, or has the given name."""
        for folder, folders, names in os.walk(self._folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(folder, name) for name in sorted(names) if not name.startswith(".") or name == hidden)


def reason_to_pass(folder: Path, name: str) -> str:
    """Returns why a path below a folder is passed by unopened, such as a pipe; empty if it can be read as a file."""
    if Path(name).name == IGNORE:
        return "it excludes nothing; move what it names out of the folder"
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
