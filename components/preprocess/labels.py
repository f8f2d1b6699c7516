"""Each photograph's label: the name of a folder, or what a CSV says."""

import csv
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from model.errors import UserError


def labels_by(source: str, photos: Path) -> Callable[[str], str | None]:
    """The function that gives a photograph's label by its path in the manifest, None where it has none.

    Args:
        source: nothing, for no labels; `folder`, for the first folder on the way from `photos` to the photograph, as
            torchvision's ImageFolder has it; or the path of a CSV inside `photos`, so that the version of the
            photographs is its version too: columns `file` (relative to `photos`, with forward slashes) and `label`
            (empty for none), others aside.
        photos: the folder of photographs.

    Raises:
        UserError: the CSV lies outside `photos`, cannot be read, lacks a column, names a file that is not there, or
            one twice.
    """
    if not source:
        return lambda path: None
    if source == "folder":
        return lambda path: path.partition("/")[0] if "/" in path else None
    return _read(photos, source).get


def _read(photos: Path, source: str) -> dict[str, str]:
    path = photos / source
    if not path.resolve().is_relative_to(photos.resolve()):
        raise UserError(f"preprocess.labels is {source}, outside {photos}; put it beside the photographs.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets begin theirs with a mark
            table = csv.DictReader(file)
            if missing := {"file", "label"} - set(table.fieldnames or ()):
                raise UserError(f"{path} lacks the column {' and '.join(sorted(missing))}; it needs file and label.")
            lines = [(table.line_num, row["file"] or "", row["label"] or "") for row in table]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; preprocess.labels names it.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read: {error}.") from None
    labels: dict[str, str] = {}
    for number, listed, label in lines:
        name = PurePosixPath(listed.strip()).as_posix()
        if name in labels:
            raise UserError(f"{path}, line {number}: {name} is listed twice.")
        if not (photos / name).is_file():
            raise UserError(f"{path}, line {number}: {name!r} is no file below {photos}.")
        labels[name] = label.strip()
    return {name: label for name, label in labels.items() if label}
