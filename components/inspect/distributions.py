"""Distributions of a dataset: photographs counted by bins that never change, so that two datasets can be compared."""

from collections import Counter
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from components.inspect.manifest import blocks
from components.shared.machine.progress import progress
from components.shared.s3.streaming.published import open_shards
from model.color import decode_lab
from model.data.format import PER_SHARD, SPLITS
from model.data.shards import Shards

SCHEMA_VERSION = 1
"""Version of the bins: counts by other bins cannot be compared."""

_PIXELS = 1 << 22  # in memory at once: 50 photographs of 286 x 286
_COLUMNS = ("path", "width", "height", "split", "status", "reason", "label")
_SPELLINGS = {"jpeg": "jpg", "jpe": "jpg", "jfif": "jpg", "tiff": "tif"}


@dataclass(frozen=True)
class Measure:
    """Describes a number by which photographs are counted."""

    unit: str
    meaning: str
    edges: tuple[float, ...]
    """Edges between the bins; a value on an edge belongs to the bin above it."""

    @property
    def bins(self) -> tuple[str, ...]:
        """Names of the bins in their order."""
        inner = (f"{low:g} to {high:g}" for low, high in zip(self.edges, self.edges[1:], strict=False))
        return (f"below {self.edges[0]:g}", *inner, f"{self.edges[-1]:g} and more")


OF_FILES = {
    "megapixels": Measure("", "of the whole photograph", (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32)),
    "short_side": Measure("pixels", "of the whole photograph", (192, 256, 384, 512, 768, 1024, 1536, 2048, 3072)),
    "aspect_ratio": Measure(
        "width by height", "of the whole photograph", (0.5, 0.6, 0.7, 0.85, 0.97, 1.03, 1.2, 1.4, 1.6, 2, 2.5)
    ),
}  # usual ratios, such as 3:2 and 4:3, lie within bins
OF_PIXELS = {
    "lightness": Measure("L", "mean of the stored square", (10, 20, 30, 40, 50, 60, 70, 80, 90)),
    "contrast": Measure("L", "standard deviation of lightness in the stored square", (5, 10, 15, 20, 25, 30, 35, 40)),
    "chroma": Measure("CIELAB", "mean of the stored square", (4, 8, 12, 16, 20, 25, 30, 40, 50)),
    "hue": Measure("degrees", "of the mean color: 0 is red, 90 yellow, 180 green, 270 blue", tuple(range(30, 360, 30))),
}
OF_NAMES = {
    "file_type": "by the file's suffix",
    "label": "as preprocess.labels gives it",
    "fate": "kept, or rejected and why, of all files that were taken for photographs",
}
"""Properties counted by names in place of numbers. `label` is absent where no photograph has one."""

MEANINGS = {name: measure.meaning for name, measure in (OF_FILES | OF_PIXELS).items()} | OF_NAMES

Counts = Mapping[str, int]
"""Photographs by bin, in the bins' order."""


@dataclass(frozen=True)
class Distributions:
    """Holds the content of distributions.json."""

    data_version: str
    size: int
    """Side of the stored squares in pixels."""
    files: Counts
    """Fate (train, val, test, rejected, ignored) -> files."""
    counts: Mapping[str, Counts]
    """Name of the distribution -> its counts."""

    def to_json(self) -> dict[str, Any]:
        """Returns the content of distributions.json."""
        return {"schema_version": SCHEMA_VERSION, **vars(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Distributions":
        """Builds it from the content of distributions.json.

        Raises:
            KeyError, TypeError: the content is something else.
        """
        return cls(**{name: content[name] for name in ("data_version", "size", "files", "counts")})


def measure(dataset: Path) -> Distributions:
    """Counts the photographs of a dataset, which it reads once, a few at a time.

    Numbers and types are those of the kept photographs of all splits. A square scaled to another size keeps its mean
    colors, and loses some contrast when it gets smaller.

    Raises:
        UserError: the folder is no dataset, or a file of it is damaged; names the file.
    """
    splits = [open_shards(dataset, split) for split in SPLITS]
    numbers = {name: np.zeros(len(each.bins), dtype=np.int64) for name, each in (OF_FILES | OF_PIXELS).items()}
    names = {name: Counter[str]() for name in OF_NAMES}
    files = Counter(dict.fromkeys((*SPLITS, "rejected", "ignored"), 0))
    for rows in blocks(dataset, _COLUMNS):
        kept = [row for row in rows if row["status"] == "kept"]
        files.update(row["split"] or row["status"] for row in rows)
        names["fate"].update(row["reason"].partition(":")[0] or "kept" for row in rows if row["status"] != "ignored")
        names["file_type"].update(_type(row["path"]) for row in kept)
        names["label"].update(row["label"] or "" for row in kept)
        width, height = (np.array([row[side] for row in kept], dtype=float) for side in ("width", "height"))
        _count(numbers, OF_FILES, (width * height / 1e6, np.minimum(width, height), width / height))
    with progress(sum(map(len, splits)), "inspect", "photographs") as advance:
        for stored in (stored for shards in splits for stored in _few(shards)):
            _count(numbers, OF_PIXELS, _pixel_values(stored))
            advance(len(stored))
    if names["label"].keys() <= {""}:
        del names["label"]
    bins = {name: each.bins for name, each in (OF_FILES | OF_PIXELS).items()}
    counted = {name: dict(zip(bins[name], found.tolist(), strict=True)) for name, found in numbers.items()}
    named = {name: dict(sorted(found.items())) for name, found in names.items()}
    return Distributions(splits[0].data_version, splits[0].size, dict(files), counted | named)


def _few(shards: Shards) -> Iterator[NDArray[np.uint8]]:
    """Yields the photographs in order, a few at a time: (n, 3, S, S). No file stays mapped after it was read."""
    at_once = max(1, _PIXELS // shards.size**2)
    for first in range(0, len(shards), PER_SHARD):
        one = copy(shards)  # its maps of files end with it
        last = min(first + PER_SHARD, len(shards))
        for start in range(first, last, at_once):
            yield one[start : min(start + at_once, last)]


def _type(path: str) -> str:
    suffix = PurePosixPath(path).suffix.lower().removeprefix(".")
    return _SPELLINGS.get(suffix, suffix)


def _pixel_values(stored: NDArray[np.uint8]) -> tuple[NDArray[np.float64], ...]:
    """Returns the values of `OF_PIXELS` in their order, (n,) each, from (n, 3, S, S) uint8 stored LAB."""
    lab = decode_lab(torch.from_numpy(stored))
    L, a, b = lab.unbind(1)
    mean_a, mean_b = (channel.mean(dim=(1, 2)) for channel in (a, b))
    hue = torch.rad2deg(torch.atan2(mean_b, mean_a)) % 360
    chroma = torch.hypot(a, b).mean(dim=(1, 2))
    return tuple(
        values.double().numpy() for values in (L.mean(dim=(1, 2)), L.std(dim=(1, 2), correction=0), chroma, hue)
    )


def _count(
    totals: Mapping[str, NDArray[np.int64]],
    measures: Mapping[str, Measure],
    values: tuple[NDArray[np.float64], ...],
) -> None:
    for (name, each), found in zip(measures.items(), values, strict=True):
        totals[name] += np.bincount(np.digitize(found, each.edges), minlength=len(each.bins))
