"""Preparation of a partition: accepts or rejects each file on its own and converts accepted photographs to LAB."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from components.preprocess import pool
from components.preprocess.color_table import color_table
from components.preprocess.config import PreprocessConfig
from components.preprocess.prepared import PIXELS, ROWS, PartRow, Pixels, Prepared
from components.preprocess.store import Entry, Store
from components.preprocess.worker import Task, prepare
from components.shared.machine.progress import progress
from components.shared.photos import listing
from components.shared.photos.folder import Folder, digest
from components.shared.photos.listing import Listed
from components.shared.photos.remote import Remote
from components.shared.photos.source import source
from model.data.kinds import SUFFIXES
from model.utils.cores import cores
from model.utils.errors import UserError
from model.utils.files import folder_aside

_READERS = 10  # files that are read at the same time: as many connections as boto3 keeps


@dataclass(frozen=True)
class _Job:
    """Stores a photograph to decode and its identity for the store; an empty identity is never stored."""

    slot: int
    file: Listed
    identity: str


def prepare_part(
    photos: Path | str,
    listed: Path,
    number: int,
    output: Path,
    config: PreprocessConfig,
    *,
    store: Store | None = None,
    workers: int | None = None,
) -> dict[str, int]:
    """Reads the photographs of a partition and accepts or rejects each on its own.

    Writes rows.jsonl, and the file `pixels` with the LAB of accepted photographs in slots of 3 x size x size bytes.
    Memory holds a few photographs a worker and some hundred bytes for each file; the disk holds the same few
    photographs if they come from S3.

    Args:
        photos: folder or s3://bucket/prefix, as in `partition.partition`.
        listed: folder that `partition.partition` wrote.
        number: index of the partition.
        output: replaced as a whole, at the end.
        config: section `preprocess`.
        store: store of prepared photographs: its entries are not decoded again, new ones are added.
        workers: processes that decode; by default one for each processor.

    Returns:
        Numbers of photographs: {"known": found in the store, "new": decoded}.

    Raises:
        UserError: photographs in S3 cannot be read or differ from the listing; the output or the store cannot be
            written.
    """
    files = listing.read(listed, number)
    try:
        with source(photos) as found, folder_aside(output, ROWS) as folder, (folder / PIXELS).open("w+b") as pixels:
            part = _Part(found, config, Pixels(pixels.fileno(), config.size), store, workers or cores())
            with (folder / ROWS).open("w", encoding="utf-8") as rows:
                for row in part.rows(files):
                    rows.write(json.dumps(asdict(row)) + "\n")
            return {"known": part.known, "new": part.new}
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}; make room, or give another folder.") from None


class _Part:
    """Turns one partition's photographs into rows and slots; counts known and new photographs."""

    def __init__(
        self, found: Folder | Remote, config: PreprocessConfig, pixels: Pixels, store: Store | None, workers: int
    ) -> None:
        self._source, self._config, self._pixels, self._store, self._workers = found, config, pixels, store, workers
        self.known = self.new = 0

    def rows(self, files: list[Listed]) -> Iterator[PartRow]:
        photographs: list[Listed] = []
        others: list[Listed] = []
        for file in files:
            if reason := self._source.reason_to_skip(file):
                yield _row(file, Prepared("", reason=reason))
            else:
                (photographs if Path(file.path).suffix.lower() in SUFFIXES else others).append(file)
        for file, sha256 in zip(others, pool.in_threads(self._hash, enumerate(others), _READERS), strict=True):
            yield _row(file, Prepared(sha256, reason="no photograph by its suffix"), ignored=True)
        new: list[_Job] = []
        for slot, (file, (identity, entry)) in enumerate(
            zip(photographs, pool.in_threads(self._look_up, photographs, _READERS), strict=True)
        ):
            if entry is None:
                new.append(_Job(slot, file, identity))
                continue
            prepared, lab = entry
            if lab is not None:
                self._pixels.write(slot, lab)
            yield _row(file, prepared, slot)
        self.known, self.new = len(photographs) - len(new), len(new)
        if self._store:
            print(f"{len(photographs)} photographs: {self.known} known, {self.new} new", flush=True)
        if new:
            yield from self._decoded(new)

    def _decoded(self, new: list[_Job]) -> Iterator[PartRow]:
        task = Task(self._pixels, self._config.min_side, self._config.min_chroma, color_table(self._workers))
        fetched = pool.in_threads(self._fetch, new, _READERS)
        done = pool.in_processes(partial(prepare, task=task), fetched, self._workers)
        with progress(len(new), "preprocess", "photographs") as advance:
            for row in pool.in_threads(self._finish, zip(new, done, strict=True), _READERS):
                yield row
                advance(1)

    def _look_up(self, file: Listed) -> tuple[str, Entry | None]:
        if self._store is None:
            return "", None
        identity = self._source.identity(file)
        return identity, self._store.get(identity) if identity else None

    def _fetch(self, job: _Job) -> tuple[int, Path]:
        return job.slot, self._source.fetch(job.file, job.slot, listing.MAX_BYTES)

    def _finish(self, done: tuple[_Job, tuple[tuple[int, Path], Prepared | None]]) -> PartRow:
        job, ((slot, path), found) = done
        prepared = found or Prepared(digest(path), reason="unreadable: it crashes the decoder")
        self._source.discard(path)
        # Not stored: a file that crashed the decoder, changed since its look-up, or could not be read.
        if self._store and job.identity and found and self._source.unchanged(job.identity, found.sha256):
            self._store.put(job.identity, found, None if found.reason else self._pixels.read(slot))
        return _row(job.file, prepared, slot)

    def _hash(self, job: tuple[int, Listed]) -> str:
        number, file = job
        path = self._source.fetch(file, number)
        sha256 = digest(path)
        self._source.discard(path)
        return sha256


def _row(file: Listed, prepared: Prepared, slot: int = 0, *, ignored: bool = False) -> PartRow:
    # A name that is not UTF-8 is shown with backslashes.
    name = os.fsencode(file.path).decode("utf-8", "backslashreplace")
    return PartRow(name, prepared, "ignored" if ignored else "rejected" if prepared.reason else "kept", slot)
