"""Examples of rejected photographs, with their pictures and those of the photographs that they duplicate."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import torch
from numpy.typing import NDArray

from components.inspect.manifest import blocks
from components.shared.s3.streaming.published import open_shards
from model.color import decode_lab, lab_to_srgb, to_uint8
from model.data.images import decode
from model.utils.errors import UserError

EACH = 4
"""Number of examples of each kind."""

_SIDE = 160  # pixels of a picture
_SHOWN = ("too small", "colorless", "duplicate", "near-duplicate")  # other kinds cannot, or must not, be decoded
_TWIN = ("the same file as ", "looks like ")

Picture = NDArray[np.uint8]
"""(H, W, 3) sRGB."""


@dataclass(frozen=True)
class Example:
    """Describes a rejected photograph."""

    path: str
    width: int | None
    height: int | None
    reason: str
    """Reason without its kind."""
    picture: Picture | None
    """Picture of the photograph; None where the file is not here, or must not be opened."""
    twin: str
    """Path of the photograph that it duplicates, or empty."""
    twins_picture: Picture | None
    """Picture of that photograph; None where it was not kept either."""


@dataclass
class Rejected:
    """Holds the number of rejected photographs of one kind, and the first few by path."""

    count: int = 0
    examples: list[Example] = field(default_factory=list)


def rejected(dataset: Path, photos: Path | None) -> dict[str, Rejected]:
    """Returns the rejected photographs by the kind of the reason, the most frequent first.

    Args:
        dataset: output folder of preprocess.
        photos: the folder of photographs, None where it is not on this machine.

    Raises:
        UserError: a file of the dataset is missing or damaged.
    """
    found: dict[str, Rejected] = {}
    for rows in blocks(dataset, ("path", "sha256", "width", "height", "status", "reason")):
        for row in rows:
            if row["status"] == "rejected":
                kind, _, reason = row["reason"].partition(": ")
                here = found.setdefault(kind, Rejected())
                here.count += 1
                if here.count <= EACH:
                    here.examples.append(_example(row, kind, reason, dataset, photos))
    return dict(sorted(found.items(), key=lambda item: -item[1].count))


def _example(row: dict[str, Any], kind: str, reason: str, dataset: Path, photos: Path | None) -> Example:
    twin = next((reason.removeprefix(words) for words in _TWIN if reason.startswith(words)), "")
    return Example(
        path=row["path"],
        width=row["width"],
        height=row["height"],
        reason=reason,
        picture=_picture(photos, row) if photos and kind in _SHOWN else None,
        twin=twin,
        twins_picture=_stored(dataset, twin) if twin else None,
    )


def _picture(photos: Path, row: dict[str, Any]) -> Picture | None:
    """Decodes the file that preprocess saw; returns None when another file is in its place now."""
    try:
        content = (photos / row["path"]).read_bytes()
        if hashlib.sha256(content).hexdigest() != row["sha256"]:
            return None
        image = decode(content, min_side=_SIDE).image
    except (OSError, ValueError, UserError):
        return None
    image.thumbnail((2 * _SIDE, _SIDE))
    return np.asarray(image)


def _stored(dataset: Path, path: str) -> Picture | None:
    """Reads a kept photograph from the shards; a split is sorted by SHA-256, so the rows before it give its index."""
    manifest = ds.dataset(dataset / "manifest.parquet")
    kept = manifest.to_table(["split", "sha256"], (ds.field("path") == path) & (ds.field("status") == "kept"))
    if not len(kept):
        return None
    row = kept.to_pylist()[0]
    before = (ds.field("split") == row["split"]) & (ds.field("sha256") < row["sha256"])
    stored = torch.from_numpy(open_shards(dataset, row["split"])[[manifest.count_rows(filter=before)]])
    pixels = to_uint8(lab_to_srgb(decode_lab(stored)))[0].permute(1, 2, 0)
    return np.asarray(pixels)
