"""The catalog of openly licensed photographs on public servers, and its tables in the folder of photographs."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from model.data.kinds import SOURCES
from model.utils.errors import UserError
from model.utils.files import write_aside

CATALOG = Path(__file__).with_name("catalog.csv")
"""The catalog of this repository."""

STRAYS = Path(__file__).with_name("strays.csv")
"""Entries of the catalog that are left out, by the SHA-256 of the file, with the reason."""

ABSENT = "ABSENT.csv"
"""Table in the folder of photographs: entries of the catalog that it lacks, so that the data version names them."""

CHANGED = "scaled to at most 448 pixels, JPEG quality 90"
_KEPT = ("file", "width", "height", "licence", "sha256", "source", "credit", "repository", "commit", "path")


@dataclass(frozen=True)
class Entry:
    """Holds a row of the catalog."""

    file: str
    """Path below the folder of photographs; the first folder is the source."""
    sha256: str
    """SHA-256 of the file that is made of the original."""
    source: str
    licence: str
    credit: str
    repository: str
    """owner/name on GitHub."""
    commit: str
    path: str
    """Path of the original in the repository."""
    sha256_original: str
    width: int
    height: int


def read_catalog(path: Path = CATALOG) -> list[Entry]:
    """Reads a catalog, a CSV with the columns of `Entry`.

    Raises:
        UserError: it cannot be read, lacks a column, has a value that is none, or lists a file twice.
    """
    entries: dict[str, Entry] = {}
    for number, row in enumerate(_rows(path), 2):
        if missing := set(Entry.__dataclass_fields__) - row.keys():
            raise UserError(f"{path} lacks the column {', '.join(sorted(missing))}.")
        values = {name: row[name] or "" for name in Entry.__dataclass_fields__}
        file = PurePosixPath(values["file"])
        inside = len(file.parts) > 1 and not any(part.startswith(".") for part in file.parts) and file.suffix == ".jpg"
        if not inside or file.as_posix() != values["file"] or "\0" in values["file"] or file.is_absolute():
            raise UserError(f"{path}, row {number}: the file is {values['file']!r}; it must be SOURCE/NAME.jpg.")
        if values["file"] in entries:
            raise UserError(f"{path}, row {number}: {values['file']} is listed twice.")
        try:
            size = {name: int(values.pop(name)) for name in ("width", "height")}
        except ValueError:
            raise UserError(f"{path}, row {number}: width and height must be whole numbers.") from None
        entries[values["file"]] = Entry(**values, **size)  # type: ignore[arg-type]
    return list(entries.values())


def read_strays(path: Path = STRAYS) -> dict[str, str]:
    """Reads the reasons to leave entries out, by the SHA-256 of the file.

    Raises:
        UserError: it cannot be read.
    """
    return {row["sha256"]: row["reason"] for row in _rows(path)}


def read_results(photos: Path) -> dict[tuple[str, str], str]:
    """Returns the SHA-256 of each file of a catalog in SOURCES.csv, by the file and the SHA-256 of its original.

    Raises:
        UserError: the table cannot be read.
    """
    rows = _rows(photos / SOURCES) if (photos / SOURCES).exists() else []
    return {
        (row["file"], row["sha256_original"]): row["sha256"]
        for row in rows
        if row.get("file") and row.get("sha256_original") and row.get("sha256")
    }


def write_sources(photos: Path, catalog: Iterable[Entry], present: Mapping[str, str]) -> None:
    """Adds the photographs that are there to SOURCES.csv, and removes those of the catalog that are not.

    Other rows and columns stay as they are.

    Args:
        photos: folder of photographs.
        catalog: all entries.
        present: SHA-256 of each file that is there, by its path.

    Raises:
        UserError: the table cannot be read or written.
    """
    path = photos / SOURCES
    rows = _rows(path) if path.exists() else []
    entries = {entry.file: entry for entry in catalog}
    columns = list(dict.fromkeys([*(rows[0] if rows else ()), *_KEPT, "sha256_original", "changed"]))
    kept = [row for row in rows if row.get("file") not in entries]
    for file, sha256 in sorted(present.items()):
        entry = entries[file]
        added = {name: str(getattr(entry, name)) for name in (*_KEPT, "sha256_original")}
        kept.append(added | {"sha256": sha256, "changed": CHANGED})
    if kept or path.exists():
        _write(path, columns, kept)


def write_absent(photos: Path, reasons: Mapping[str, str]) -> None:
    """Writes ABSENT.csv with the reason for each entry that is not there; removes it if there is none.

    Raises:
        UserError: the table cannot be written.
    """
    path = photos / ABSENT
    if reasons:
        _write(path, ["file", "reason"], [{"file": file, "reason": reasons[file]} for file in sorted(reasons)])
    else:
        path.unlink(missing_ok=True)


def absent(photos: Path) -> int:
    """Returns how many entries of the catalog ABSENT.csv names.

    Raises:
        UserError: it cannot be read.
    """
    return len(_rows(photos / ABSENT)) if (photos / ABSENT).exists() else 0


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read: {error}.") from None


def _write(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, text.getvalue().encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None
