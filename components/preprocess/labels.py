"""Labels of photographs, from folder names or from a CSV."""

import csv
import unicodedata
from collections.abc import Callable, Container, Sequence
from pathlib import Path, PurePosixPath

from components.shared.photos.listing import FOLDER
from model.utils.errors import UserError


def labels_by(source: str, table: Path, photographs: Container[str]) -> Callable[[str], str | None]:
    """Returns a function that maps a photograph's path in the manifest to its label or None.

    Args:
        source: empty for no labels; `folder` for the name of the top folder, as torchvision's ImageFolder uses it; or
            the path of a CSV among the photographs, so that the photographs' version covers it too. Its columns are
            `file` (path with forward slashes) and `label` (empty for none); other columns are ignored.
        table: a copy of that CSV.
        photographs: the paths of all files.

    Raises:
        UserError: the CSV cannot be read, lacks a column, names a missing file, or names a file twice.
    """
    if not source:
        return lambda path: None
    if source == FOLDER:
        return lambda path: path.partition("/")[0] if "/" in path else None
    return _read(source, table, photographs).get


def _read(source: str, path: Path, photographs: Container[str]) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a byte order mark
            table = csv.DictReader(file)
            if missing := {"file", "label"} - set(table.fieldnames or ()):
                lacks = f"{source} lacks the column {' and '.join(sorted(missing))}; it needs file and label"
                raise UserError(f"{lacks}{_separated(table.fieldnames or ())}.")
            lines = [(table.line_num, row["file"] or "", row["label"] or "") for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{source} cannot be read: {error}; save it as CSV in UTF-8.") from None
    labels: dict[str, str] = {}
    for number, listed, label in lines:
        name = PurePosixPath(listed.strip()).as_posix()
        if name in labels:
            raise UserError(f"{source}, line {number}: {name} is listed twice; keep one of its lines.")
        if name not in photographs:
            raise UserError(
                f"{source}, line {number}: {name!r} is not among the photographs{_meant(name, photographs)}."
            )
        labels[name] = label.strip()
    return {name: label for name, label in labels.items() if label}


def _separated(header: Sequence[str]) -> str:
    """Returns the remedy for a header whose columns no comma separates."""
    first = header[0] if header else ""
    if first.lower().startswith("sep="):
        return f", but begins with {first}, as spreadsheets write it; remove that line, and separate columns by commas"
    other = next((name for sign, name in ((";", "semicolons"), ("\t", "tabs")) if sign in first), "")
    return f", but has {other}; separate columns by commas" if other else ""


def _meant(name: str, photographs: Container[str]) -> str:
    """Returns the remedy for a name that differs from a photograph's only in backslashes or in Unicode's form."""
    slashed = name.replace("\\", "/")
    if slashed in photographs:
        return f"; write {slashed}, with / between folders"
    for form in ("NFC", "NFD"):  # macOS writes NFD
        if unicodedata.normalize(form, slashed) in photographs:
            return f", but in Unicode's form {form}; convert the table to {form}, as the file's own name is"
    return ""
