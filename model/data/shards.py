"""The dataset folder: photographs as uint8 LAB in memory-mapped .npy shards, and a manifest of every input's fate."""

import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.json as pa_json
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.data.format import FIX, SCHEMA_VERSION, ShardFile, Store, check_shard, describe, npy_header
from model.utils.errors import Damaged, UserError

PER_SHARD = 1024
"""Photographs in a full shard."""
_ROW_GROUP = 1 << 16
"""Rows of the manifest that are converted at once: 60 MB."""

ENCODING = "uint8 (N, 3, size, size): L * 255 / 100, a + 128, b + 128"

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
SOURCES = "SOURCES.csv"
"""A table of where the photographs come from (columns file, licence, others aside); handed on if it is among them."""


@dataclass(frozen=True)
class Row:
    """An input file's line in manifest.parquet."""

    path: str
    """Relative to the folder of photographs, with forward slashes."""
    sha256: str
    """Of the file's bytes, in hexadecimal."""
    width: int | None
    """Of the upright photograph in pixels; null where it could not be read."""
    height: int | None
    split: Split | None
    """null unless kept."""
    status: Literal["kept", "rejected", "ignored"]
    """Ignored: no photograph by its suffix."""
    reason: str
    """Why it was rejected or ignored, else empty."""
    label: str | None = None
    """null unless kept, and where it has none."""


_MANIFEST = pa.schema(
    [
        pa.field("path", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("split", pa.string()),
        pa.field("status", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("label", pa.string()),
    ]
)


@dataclass(frozen=True)
class Shards:
    """One split of a dataset, read through memory maps.

    Holds no open file until the first read, and none when pickled: cheap to hand to DataLoader workers. Of a store, it
    holds none between two reads either, so that what the store removes is gone.
    """

    folder: Path
    split: Split
    size: int
    """Side of the square photographs in pixels."""
    data_version: str
    files: tuple[ShardFile, ...]
    store: Store | None
    _maps: dict[int, NDArray[np.uint8]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, folder: Path, split: Split, store: Store | None = None) -> "Shards":
        """Opens a split; checks the headers and lengths of its files, not their content (`verify` does).

        Args:
            folder: of the dataset.
            split: of the photographs.
            store: that has the shards; None where they are in the folder.

        Raises:
            UserError: the folder is no dataset, is of an unknown schema version, or a shard is missing, truncated or
                of an unexpected shape. Names the file.
        """
        description = describe(folder)
        size, files = description["size"], []
        for entry in description["shards"][split]:
            shape = (entry["photographs"], 3, size, size)
            if not store:
                check_shard(folder / entry["file"], shape)
            length = len(npy_header(shape)) + math.prod(shape)
            files.append(ShardFile(entry["file"], entry["photographs"], entry["sha256"], length))
        return cls(folder, split, size, description["data_version"], tuple(files), store)

    def sibling(self, split: Split) -> "Shards":
        """Another split of the same dataset. Raises what `open` does."""
        return Shards.open(self.folder, split, self.store)

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _count(self) -> int:
        return sum(file.photographs for file in self.files)

    @property
    def per_shard(self) -> int:
        """Photographs in every shard but the last, which may have fewer."""
        return self.files[0].photographs if self.files else PER_SHARD

    def expect(self, shards: Sequence[int]) -> None:
        """Tells the store which shards are read from now on."""
        if self.store:
            self.store.expect([self.files[shard] for shard in shards])

    def __getitem__(self, indices: Sequence[int] | NDArray[np.integer] | slice) -> NDArray[np.uint8]:
        """The photographs at `indices`, in that order: (n, 3, size, size) uint8, a copy.

        Raises:
            IndexError: an index is not in 0..len-1.
        """
        wanted = np.arange(len(self))[indices] if isinstance(indices, slice) else np.asarray(indices, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"indices {wanted.min()}..{wanted.max()} of {len(self)} photographs")
        out = np.empty((len(wanted), 3, self.size, self.size), dtype=np.uint8)
        shards = wanted // self.per_shard
        for shard in np.unique(shards).tolist():
            here = shards == shard
            out[here] = self._map(shard)[wanted[here] % self.per_shard]
        return out

    @cached_property
    def sha256s(self) -> list[str]:
        """The content hash of each photograph's file, in the order of the photographs."""
        return [sha256 for sha256, _, _ in self._manifest]

    @cached_property
    def paths(self) -> list[str]:
        """Each photograph's path below the folder of photographs, in the order of the photographs."""
        return [path for _, path, _ in self._manifest]

    @cached_property
    def labels(self) -> list[str | None]:
        """Each photograph's label, None where it has none, in the order of the photographs."""
        return [label for _, _, label in self._manifest]

    def label_indices(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Each photograph's label as its place in `names`, -1 where it has none or another: (n,)."""
        places = {name: place for place, name in enumerate(names)}
        if not places:
            return np.full(len(self), -1)
        return np.array([-1 if label is None else places.get(label, -1) for label in self.labels], dtype=np.int64)

    @cached_property
    def _manifest(self) -> list[tuple[str, str, str | None]]:
        path, columns = self.folder / "manifest.parquet", ["sha256", "path", "label"]
        try:
            table = pq.read_table(path, columns=columns, filters=[("split", "=", self.split)])
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{path} cannot be read ({str(error).splitlines()[0]}); {FIX}.") from None
        # By the hash, which no two share: a label that is None is never compared.
        rows = sorted(zip(*(table[column].to_pylist() for column in columns), strict=True))
        if len(rows) != len(self):
            raise UserError(f"{path} lists {len(rows)} {self.split} photographs, the shards hold {len(self)}; {FIX}.")
        return rows

    def _map(self, shard: int) -> NDArray[np.uint8]:
        file = self.files[shard]
        while self.store:
            with suppress(FileNotFoundError):  # removed again in between
                return _load(self.store.fetch(file))
        if shard not in self._maps:
            self._maps[shard] = _load(self.folder / file.name)
        return self._maps[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}


def verify(folder: Path) -> None:
    """Reads every file of a dataset and compares its SHA-256 with the one in dataset.json.

    Raises:
        UserError: as `Shards.open`.
        Damaged: a file's content differs. Names the file.
    """
    description = describe(folder)
    entries = [description["manifest"], *(entry for split in SPLITS for entry in description["shards"][split])]
    for entry in entries:
        path = folder / entry["file"]
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); {FIX}.") from None
        if found != entry["sha256"]:
            raise Damaged(f"{path} is damaged: its SHA-256 is not the one in dataset.json; {FIX}.", folder)


def write(
    folder: Path, rows: Sequence[Row], lab_of: Callable[[str], NDArray[np.uint8]], *, size: int, data_version: str
) -> None:
    """Writes a dataset into an existing folder: the shards, manifest.parquet, and dataset.json last.

    The shards depend on the kept photographs alone: each split is in the order of SHA-256, whatever the files' names.

    Args:
        folder: empty. Use `model.utils.files.folder_aside` to have it appear whole.
        rows: one for every input file.
        lab_of: the (3, size, size) uint8 LAB of a kept row, by its SHA-256, C-contiguous; asked once each, from
            several threads, so nothing need be held in memory.
        size: side of the square photographs in pixels.
        data_version: names the photographs' version, such as the md5 in data.dvc.

    Raises:
        ValueError: two kept rows have the same SHA-256, or `lab_of` returns another shape or dtype.
    """
    kept: dict[Split, list[str]] = {split: sorted(row.sha256 for row in rows if row.split == split) for split in SPLITS}
    everything = [sha256 for split in SPLITS for sha256 in kept[split]]
    if len(set(everything)) != len(everything):
        raise ValueError("a photograph is kept twice")
    with ThreadPoolExecutor() as pool:  # hashing and writing leave Python's lock to the others
        writing: dict[Split, list[Future[dict[str, str | int]]]] = {split: [] for split in SPLITS}
        for split in SPLITS:
            for index, start in enumerate(range(0, len(kept[split]), PER_SHARD)):
                path, part = folder / _file_name(split, index), kept[split][start : start + PER_SHARD]
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
    """Streams photographs into one .npy file, hashing as it goes."""
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


def _load(path: Path) -> NDArray[np.uint8]:
    mapped: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def _write_manifest(path: Path, rows: Sequence[Row]) -> None:
    with pq.ParquetWriter(path, _MANIFEST) as writer:
        for start in range(0, len(rows), _ROW_GROUP):
            writer.write_table(_table(rows[start : start + _ROW_GROUP]))


def _table(rows: Sequence[Row]) -> pa.Table:
    """By way of JSON: Arrow's conversion from Python objects would import pandas first."""
    lines = "\n".join(json.dumps(vars(row)) for row in rows)
    return pa_json.read_json(
        io.BytesIO(lines.encode()),
        parse_options=pa_json.ParseOptions(explicit_schema=_MANIFEST, unexpected_field_behavior="error"),
    )


def _file_name(split: Split, index: int) -> str:
    return f"{split}-{index:05d}.npy"
