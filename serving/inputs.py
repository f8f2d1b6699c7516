"""Search for the photographs to color: files, and folders with all below them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.shared.photos.folder import printable, reason_to_pass
from model.data.kinds import RAW_SUFFIXES, SUFFIXES, advice
from model.utils.errors import UserError
from serving.record import NAME, results


@dataclass(frozen=True)
class Job:
    """Holds a photograph to color."""

    source: Path
    place: Path
    """Its path relative to the output folder, under its own name: album/old.jpg."""

    @property
    def hints(self) -> Path | None:
        """Returns the file of the photograph's hints; None if there is none."""
        file = self.source.with_name(f"{self.source.name}.hints.json")
        return file if os.path.exists(file) else None  # noqa: PTH110 - Path.exists raises if the name is too long


@dataclass
class Found:
    """Holds what was found."""

    jobs: list[Job] = field(default_factory=list)
    """Each photograph once."""
    passed_by: list[str] = field(default_factory=list)
    """One sentence for each photograph that is not to be opened or is the result of an earlier call."""
    failures: list[str] = field(default_factory=list)
    """One sentence for each folder that cannot be read."""


def find(inputs: Sequence[Path], out: Path) -> Found:
    """Finds the photographs to color.

    Args:
        inputs: photographs and folders. In a folder, photographs are found by suffix. Hidden files are skipped. Links
            that lead out of the folder or nowhere, what is no file, names that are not UTF-8, cameras' raw files, and
            the pictures that a `.colorized.jsonl` in the folder names are passed by with a sentence.
        out: output folder. Files in it are never input.

    Raises:
        UserError: an input does not exist or is `out`, `out` is a link to no folder, or there are no photographs.
    """
    if out.is_symlink() and not out.is_dir():
        raise UserError(f"--out: {out} is a link that leads to no folder; choose another folder for --out.")
    found = Found()
    for given in inputs:
        if given.is_dir():
            if given.resolve() == real(out):
                raise UserError(f"--out: {out} is also an input folder; choose another folder for --out.")
            found.jobs.extend(Job(file, file.relative_to(given)) for file in _photographs(given, out, found))
        elif given.exists():
            found.jobs.append(Job(given, Path(given.name)))
        else:
            raise UserError(f"{given}: no such file or folder.")
    if not (found.jobs or found.passed_by or found.failures):
        raise UserError(f"{', '.join(map(str, inputs))}: no photographs found (supported: {', '.join(SUFFIXES)}).")
    found.jobs = list(dict.fromkeys(found.jobs))
    return found


def _photographs(folder: Path, out: Path, found: Found) -> Iterator[Path]:
    root, skipped = real(folder), real(out)
    earlier: set[Path] = set()

    def unreadable(error: OSError) -> None:
        found.failures.append(printable(f"{error.filename}: {error.strerror}."))

    for parent, folders, files in os.walk(folder, onerror=unreadable):
        at = Path(parent)
        folders[:] = sorted(name for name in folders if name[0] != "." and real(at / name) != skipped)
        if NAME in files:
            earlier |= results(at)
        for file in sorted(at / name for name in files if name[0] != "."):
            if file.suffix.lower() in (*SUFFIXES, *RAW_SUFFIXES):
                reason = reason_to_pass(folder, str(file.relative_to(folder))) or advice(file.name)
                if not reason and not real(file).is_relative_to(root):
                    reason = "a link that leads out of the folder"
                if not reason and file in earlier:
                    reason = f"a picture that an earlier call made ({NAME} names it)"
                if reason:
                    found.passed_by.append(printable(f"{file}: {reason}."))
                else:
                    yield file


def real(path: Path) -> Path:
    """Returns a path without links; unlike Path.resolve(), also of a link that leads to itself."""
    return Path(os.path.realpath(path))
