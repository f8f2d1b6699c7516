"""The reader of a dataset folder: one split's photographs through memory maps, with their hashes, paths and labels."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.data.format import FIX, PER_SHARD, ShardFile, ShardStore, Split, check_shard, npy_header, read_description
from model.utils.errors import UserError


@dataclass(frozen=True)
class Shards:
    """Reads one split of a dataset through memory maps.

    It opens no file before the first read and pickles none, so a copy for a DataLoader worker is small. With a store,
    it keeps no file open between two reads, so that removing a shard frees its disk space.
    """

    folder: Path
    split: Split
    size: int
    """Side of the square photographs in pixels."""
    data_version: str
    files: tuple[ShardFile, ...]
    store: ShardStore | None
    _maps: dict[int, NDArray[np.uint8]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, folder: Path, split: Split, store: ShardStore | None = None) -> "Shards":
        """Opens a split and checks the headers and lengths of its files; `format.verify` checks their content.

        Args:
            folder: the dataset folder.
            split: train, val or test.
            store: provides the shards; None if they are in the folder.

        Raises:
            UserError: the folder is not a dataset or has an unknown schema version, or a shard is missing, truncated
                or of an unexpected shape. Names the file.
        """
        description = read_description(folder)
        size, files = description["size"], []
        for entry in description["shards"][split]:
            shape = (entry["photographs"], 3, size, size)
            if not store:
                check_shard(folder / entry["file"], shape)
            length = len(npy_header(shape)) + math.prod(shape)
            files.append(ShardFile(entry["file"], entry["photographs"], entry["sha256"], length))
        return cls(folder, split, size, description["data_version"], tuple(files), store)

    def sibling(self, split: Split) -> "Shards":
        """Opens another split of the same dataset; raises the errors of `open`."""
        return Shards.open(self.folder, split, self.store)

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _count(self) -> int:
        return sum(file.photographs for file in self.files)

    @property
    def per_shard(self) -> int:
        """Number of photographs in every shard but the last, which may have fewer."""
        return self.files[0].photographs if self.files else PER_SHARD

    def expect(self, shards: Sequence[int]) -> None:
        """Tells the store which shards will be read next."""
        if self.store:
            self.store.expect([self.files[shard] for shard in shards])

    def __getitem__(self, indices: Sequence[int] | NDArray[np.integer] | slice) -> NDArray[np.uint8]:
        """Returns a copy of the photographs at `indices`, in that order: (n, 3, size, size) uint8 stored LAB.

        Raises:
            IndexError: an index is outside 0..len-1.
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
        """SHA-256 of each photograph's file, in the order of the photographs."""
        return [sha256 for sha256, _, _ in self._manifest]

    @cached_property
    def paths(self) -> list[str]:
        """Path of each photograph below the folder of photographs, in the order of the photographs."""
        return [path for _, path, _ in self._manifest]

    @cached_property
    def labels(self) -> list[str | None]:
        """Label of each photograph or None, in the order of the photographs."""
        return [label for _, _, label in self._manifest]

    def label_indices(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Returns the index in `names` of each photograph's label, -1 for no label or another one: (n,) int64."""
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
        # Sorted by the hash, which is unique: labels, which may be None, are never compared.
        rows = sorted(zip(*(table[column].to_pylist() for column in columns), strict=True))
        if len(rows) != len(self):
            raise UserError(f"{path} lists {len(rows)} {self.split} photographs, the shards hold {len(self)}; {FIX}.")
        return rows

    def _map(self, shard: int) -> NDArray[np.uint8]:
        file = self.files[shard]
        while self.store:
            with suppress(FileNotFoundError):  # the store may remove it before it is opened
                return _load(self.store.fetch(file))
        if shard not in self._maps:
            self._maps[shard] = _load(self.folder / file.name)
        return self._maps[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}


def _load(path: Path) -> NDArray[np.uint8]:
    mapped: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped
