"""The rows of the champion's tables: the sample set, larger sources of the catalog, groups of sources alike."""

import csv
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any

from benchmarks.tools import ROOT
from model.data.kinds import SOURCES
from model.data.shards import Shards
from pipeline.data.catalog import read_catalog

ALL, SAMPLE = "all", "sample set"
LARGE = 20
"""Number of test photographs from which a source of the catalog has a row of its own."""

_GROUPS = {
    # Dishes and what goes into them; shelves of fruit, vegetables and cartons.
    "food": ("HowToCook", "grocery-store", "public-domain-recipes"),
    # Portraits, meetings, crowds: of fourteen training photographs looked at, most show people.
    "people": (
        "openstax-american-government",
        "openstax-college-success-bundle",
        "openstax-introduction-political-science",
        "openstax-life-liberty-and-pursuit-happiness",
        "openstax-psychology",
        "openstax-sociology",
        "openstax-writing-guide",
        "philschatz-psychology",
        "philschatz-sociology",
        "ropensci",
        "vagov",
    ),
    # Kitchens, baths, desks and offices, though a third of COCO's are streets: no source shows rooms alone.
    "rooms": ("coco-cc-by", "openstax-workplace-software-skills"),
}
_GROUP_OF = {source: group for group, sources in _GROUPS.items() for source in sources}


@cache
def own_folders() -> frozenset[str]:
    """Returns the folders of the sample photographs, whether or not the catalog has been fetched."""
    with (ROOT / "data" / SOURCES).open(encoding="utf-8", newline="") as file:
        found = {row["file"].partition("/")[0] for row in csv.DictReader(file)}
    return frozenset(found - {entry.file.partition("/")[0] for entry in read_catalog()})


def group(path: str) -> str | None:
    """Returns the group of a photograph: the sample set, or one by its source; None for another source."""
    folder = path.partition("/")[0]
    return SAMPLE if folder in own_folders() else _GROUP_OF.get(folder)


class Grouped(Shards):
    """Reads a split whose photographs are labeled with their groups, so that scoring makes each group a slice."""

    @cached_property
    def labels(self) -> list[str | None]:
        """Group of each photograph, in the order of the photographs."""
        return [group(path) for path in self.paths]


def kept(slices: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Returns the slices that have a row: the sample set, larger sources of the catalog, groups."""
    large = [
        name
        for name, each in slices.items()
        if each["by"] == "folder" and "/" not in name and name not in own_folders() and each["photographs"] >= LARGE
    ]
    return {name: slices[name] for name in (SAMPLE, *large, "people", "food", "rooms") if name in slices}
