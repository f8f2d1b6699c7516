"""The writer of a dataset folder: photographs into .npy shards, their manifest, and dataset.json."""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.json as pa_json
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.data.format import ENCODING, MANIFEST, PER_SHARD, SCHEMA_VERSION, SPLITS, Row, Split, npy_header

_ROW_GROUP = 1 << 16  # rows of the manifest that are converted at once: 60 MB


def write_dataset(
    folder: Path, rows: Sequence[Row], lab_of: Callable[[str], NDArray[np.uint8]], *, size: int, data_version: str
) -> None:
    """Writes a dataset into an existing folder: the shards, manifest.parquet, and dataset.json last.

    The shards depend only on the kept photographs: each split is sorted by SHA-256, whatever the files' names.

    Args:
        folder: empty. `model.utils.files.folder_aside` makes it appear complete or not at all.
        rows: one for every input file.
        lab_of: returns the (3, size, size) uint8 LAB of a kept row by its SHA-256, C-contiguous. It is called once for
            each photograph, from several threads, so that nothing need be held in memory.
        size: side of the square photographs in pixels.
        data_version: name of the photographs' version, such as the md5 in data.dvc.

    Raises:
        ValueError: two kept rows have the same SHA-256, or `lab_of` returns another shape or dtype.
    """
    kept: dict[Split, list[str]] = {split: sorted(row.sha256 for row in rows if row.split == split) for split in SPLITS}
    everything = [sha256 for split in SPLITS for sha256 in kept[split]]
    if len(set(everything)) != len(everything):
        raise ValueError("a photograph is kept twice")
    with ThreadPoolExecutor() as pool:  # hashing and writing release Python's lock
        writing: dict[Split, list[Future[dict[str, str | int]]]] = {split: [] for split in SPLITS}
        for split in SPLITS:
            for index, start in enumerate(range(0, len(kept[split]), PER_SHARD)):
                path, part = folder / f"{split}-{index:05d}.npy", kept[split][start : start + PER_SHARD]
                writing[split].append(pool.submit(_write_shard, path, part, lab_of, size))
        shards = {split: [shard.result() for shard in writing[split]] for split in SPLITS}
    manifest = folder / "manifest.parquet"
    _write_manifest(manifest, sorted(rows, key=lambda row: row.path))
    description = {
        "schema_version": SCHEMA_VERSION,
        "data_version": data_version,
        "size": size,
        "encoding": ENCODING,
        "counts": {split: len(kept[split]) for split in SPLITS},
        "labels": dict(sorted(Counter(row.label for row in rows if row.label is not None).items())),
        "shards": shards,
        "manifest": {"file": manifest.name, "sha256": hashlib.sha256(manifest.read_bytes()).hexdigest()},
    }
    (folder / "dataset.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _write_shard(
    path: Path, sha256s: Sequence[str], lab_of: Callable[[str], NDArray[np.uint8]], size: int
) -> dict[str, str | int]:
    """Streams photographs into one .npy file, computes its SHA-256 on the way, and returns its dataset.json entry."""
    shape = (len(sha256s), 3, size, size)
    header = npy_header(shape)
    digest = hashlib.sha256(header)
    with path.open("wb") as file:
        file.write(header)
        for sha256 in sha256s:
            lab = lab_of(sha256)
            if lab.shape != shape[1:] or lab.dtype != np.uint8:
                raise ValueError(f"{sha256}: need {shape[1:]} uint8, got {lab.shape} {lab.dtype}")
            digest.update(lab.data)
            file.write(lab.data)
    return {"file": path.name, "photographs": len(sha256s), "sha256": digest.hexdigest()}


def _write_manifest(path: Path, rows: Sequence[Row]) -> None:
    with pq.ParquetWriter(path, MANIFEST) as writer:
        for start in range(0, len(rows), _ROW_GROUP):
            writer.write_table(_table(rows[start : start + _ROW_GROUP]))


def _table(rows: Sequence[Row]) -> pa.Table:
    """Converts rows by way of JSON: Arrow's conversion from Python objects would import pandas first."""
    lines = "\n".join(json.dumps(vars(row)) for row in rows)
    return pa_json.read_json(
        io.BytesIO(lines.encode()),
        parse_options=pa_json.ParseOptions(explicit_schema=MANIFEST, unexpected_field_behavior="error"),
    )
