"""Labels of photographs, from folder names or from a CSV."""

import csv
from collections.abc import Callable, Container
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
                raise UserError(f"{source} lacks the column {' and '.join(sorted(missing))}; it needs file and label.")
            lines = [(table.line_num, row["file"] or "", row["label"] or "") for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{source} cannot be read: {error}.") from None
    labels: dict[str, str] = {}
    for number, listed, label in lines:
        name = PurePosixPath(listed.strip()).as_posix()
        if name in labels:
            raise UserError(f"{source}, line {number}: {name} is listed twice.")
        if name not in photographs:
            raise UserError(f"{source}, line {number}: {name!r} is not among the photographs.")
        labels[name] = label.strip()
    return {name: label for name, label in labels.items() if label}
