"""Each photograph's label: the name of a folder, or what a CSV says."""

import csv
from collections.abc import Callable, Container
from pathlib import Path, PurePosixPath

from components.shared.photos.listing import FOLDER
from model.utils.errors import UserError


def labels_by(source: str, table: Path, photographs: Container[str]) -> Callable[[str], str | None]:
    """The function that gives a photograph's label by its path in the manifest, None where it has none.

    Args:
        source: nothing, for no labels; `folder`, for the first folder on the way to the photograph, as torchvision's
            ImageFolder has it; or the path of a CSV among the photographs, so that the version of the photographs is
            its version too: columns `file` (its path, with forward slashes) and `label` (empty for none), others aside.
        table: a copy of that CSV.
        photographs: the paths of all files.

    Raises:
        UserError: the CSV cannot be read, lacks a column, names a file that is not there, or one twice.
    """
    if not source:
        return lambda path: None
    if source == FOLDER:
        return lambda path: path.partition("/")[0] if "/" in path else None
    return _read(source, table, photographs).get


def _read(source: str, path: Path, photographs: Container[str]) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets begin theirs with a mark
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
            raise UserError(f"{source}, line {number}: {name!r} is no file among the photographs.")
        labels[name] = label.strip()
    return {name: label for name, label in labels.items() if label}
