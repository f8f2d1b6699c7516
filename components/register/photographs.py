"""Sources and licences of the photographs that a version was trained on."""

import csv
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.parquet as pq

from components.register.markdown import cell
from model.data.kinds import SOURCES
from model.utils.errors import UserError

LINEAGE = ("manifest.parquet", SOURCES)
"""Files of the dataset that train copies into its output; they are kept with the version."""

INSPECTION = ("distributions.json", "drift.json", "data.html")
"""Output files of inspect on the same dataset; kept with the version, for a comparison with the next dataset."""


def sources_table(model: Path) -> str:
    """Returns a Markdown table: a row for each folder of training photographs, with their number by licence.

    Args:
        model: output folder of train. Without a manifest or SOURCES.csv, the text says what is unknown.

    Raises:
        UserError: SOURCES.csv cannot be read.
    """
    if not (model / "manifest.parquet").is_file():
        return "No manifest came with the model: only the data version names the photographs."
    table = pq.read_table(model / "manifest.parquet", columns=["path"], filters=[("split", "=", "train")])
    licences = _licences(model / SOURCES)
    folders: dict[str, Counter[str]] = defaultdict(Counter)
    for path in table["path"].to_pylist():
        folder, separator, _ = path.partition("/")
        folders[folder if separator else "."][licences.get(path, "unknown")] += 1
    rows = ["| source | photographs | licences |", "| --- | ---: | --- |"]
    for folder, counted in sorted(folders.items()):
        text = ", ".join(f"{licence}: {count}" for licence, count in counted.most_common())
        rows.append(f"| {cell(folder)} | {counted.total()} | {cell(text)} |")
    if licences:
        rows += ["", f"`{SOURCES}`, kept with this version, lists each photograph with its licence and its source."]
    else:
        rows += [
            "",
            f"The photographs came without a `{SOURCES}` (columns file, licence): their licences are unknown.",
        ]
    return "\n".join(rows)


def _licences(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {row["file"]: row["licence"] for row in csv.DictReader(file)}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise UserError(f"{path} cannot be read ({error}); it needs the columns file and licence.") from None
