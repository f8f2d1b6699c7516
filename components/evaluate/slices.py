"""Slices of the test photographs: those of one folder, such as a source, or of one label."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

LEAST = 2
"""Number of photographs of the smallest slice."""
_MOST = 50  # slices, the largest ones: a label for each photograph must not fill the report


@dataclass(frozen=True)
class Slice:
    """Holds the photographs that share a folder or a label."""

    by: Literal["folder", "label"]
    rows: tuple[int, ...]
    """Their indices, ascending."""


def find_slices(paths: Sequence[str], labels: Sequence[str | None]) -> dict[str, Slice]:
    """Returns the slices by name, folders first, the larger before the smaller.

    Every folder above a photograph is a slice, unless it holds all photographs or the same as the folder above it. A
    label whose photographs are those of a folder is left out. Another label with the name of a folder is named
    `label:NAME`.

    Args:
        paths: of the photographs, below the folder of photographs.
        labels: of the photographs.
    """
    folders, labeled = defaultdict(list), defaultdict(list)
    for row, (path, label) in enumerate(zip(paths, labels, strict=True)):
        for folder in reversed(PurePosixPath(path).parents[:-1]):
            folders[str(folder)].append(row)
        if label is not None:
            labeled[label].append(row)
    named = {name: Slice("folder", tuple(rows)) for name, rows in _distinct(folders, len(paths)).items()}
    seen = {each.rows for each in named.values()}
    for label, rows in _distinct(labeled, len(paths)).items():
        if tuple(rows) not in seen:
            named[f"label:{label}" if label in named else label] = Slice("label", tuple(rows))
    ordered = sorted(named.items(), key=lambda item: (item[1].by != "folder", -len(item[1].rows), item[0]))
    largest = sorted(named, key=lambda name: (-len(named[name].rows), name))[:_MOST]
    return {name: each for name, each in ordered if name in largest}


def _distinct(groups: dict[str, list[int]], count: int) -> dict[str, list[int]]:
    """Returns the groups of at least `LEAST` photographs, not all; of several with the same ones the first."""
    found: dict[tuple[int, ...], str] = {}
    for name, rows in groups.items():
        if LEAST <= len(rows) < count:
            found.setdefault(tuple(rows), name)
    return {name: list(rows) for rows, name in found.items()}
