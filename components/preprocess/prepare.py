"""A partition of the photographs: each file judged on its own, what may be kept converted to LAB."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from components.preprocess import pool
from components.preprocess.color_table import color_table
from components.preprocess.prepared import PIXELS, ROWS, PartRow, Pixels, Prepared
from components.preprocess.store import Entry, Store
from components.preprocess.worker import Task, prepare
from components.shared.machine.progress import progress
from components.shared.photos import listing
from components.shared.photos.folder import Folder, digest
from components.shared.photos.listing import Listed
from components.shared.photos.remote import Remote
from components.shared.photos.source import source
from model.config import PreprocessConfig
from model.utils.errors import UserError
from model.utils.files import folder_aside

_AT_ONCE = 10  # files that are read at once: as many connections as boto3 keeps


@dataclass(frozen=True)
class _Job:
    """A photograph that is to be decoded, and what the store knows it by; empty where it cannot be kept there."""

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
    """Reads the photographs of a partition and judges each on its own.

    Writes rows.jsonl and pixels, the LAB of what was not rejected in slots of 3 x size x size bytes. Memory holds a few
    photographs a worker and some hundred bytes of bookkeeping for each file; of photographs in S3, the disk holds those
    few too.

    Args:
        photos: as in `partition.partition`.
        listed: what that wrote.
        number: the partition's.
        output: replaced as a whole, at the end.
        config: section `preprocess`.
        store: of what was prepared before; what it has is not decoded again, what it lacks is added.
        workers: processes that decode; by default one for each processor.

    Returns:
        How many photographs there were: {"known": in the store, "new": n}.

    Raises:
        UserError: photographs in S3 cannot be read, or are others than were listed; the output or the store cannot be
            written.
    """
    files = listing.read(listed, number)
    try:
        with source(photos) as found, folder_aside(output, ROWS) as folder, (folder / PIXELS).open("w+b") as pixels:
            part = _Part(found, config, Pixels(pixels.fileno(), config.size), store, workers or pool.cores())
            with (folder / ROWS).open("w", encoding="utf-8") as rows:
                for row in part.rows(files):
                    rows.write(json.dumps(asdict(row)) + "\n")
            return {"known": part.known, "new": part.new}
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}; make room, or give another folder.") from None


class _Part:
    """One partition's photographs on their way into rows and slots; counts those that are known and the new ones."""

    def __init__(
        self, found: Folder | Remote, config: PreprocessConfig, pixels: Pixels, store: Store | None, workers: int
    ) -> None:
        self._source, self._config, self._pixels, self._store, self._workers = found, config, pixels, store, workers
        self.known = self.new = 0

    def rows(self, files: list[Listed]) -> Iterator[PartRow]:
        photographs: list[Listed] = []
        others: list[Listed] = []
        for file in files:
            if why := self._source.reason_to_skip(file):
                yield _row(file, Prepared("", reason=why))
            else:
                (photographs if Path(file.path).suffix.lower() in listing.SUFFIXES else others).append(file)
        for file, sha256 in zip(others, pool.in_threads(self._hash, enumerate(others), _AT_ONCE), strict=True):
            yield _row(file, Prepared(sha256, reason="no photograph by its suffix"), ignored=True)
        new: list[_Job] = []
        for slot, (file, (identity, entry)) in enumerate(
            zip(photographs, pool.in_threads(self._recall, photographs, _AT_ONCE), strict=True)
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
        brought = pool.in_threads(self._bring, new, _AT_ONCE)
        done = pool.in_processes(partial(prepare, task=task), brought, self._workers)
        with progress(len(new), "preprocess", "photographs") as advance:
            for row in pool.in_threads(self._settle, zip(new, done, strict=True), _AT_ONCE):
                yield row
                advance(1)

    def _recall(self, file: Listed) -> tuple[str, Entry | None]:
        if self._store is None:
            return "", None
        identity = self._source.identity(file)
        return identity, self._store.get(identity) if identity else None

    def _bring(self, job: _Job) -> tuple[int, Path]:
        return job.slot, self._source.fetch(job.file, job.slot, listing.MAX_BYTES)

    def _settle(self, done: tuple[_Job, tuple[tuple[int, Path], Prepared | None]]) -> PartRow:
        job, ((slot, path), found) = done
        prepared = found or Prepared(digest(path), reason="unreadable: it crashes the decoder")
        self._source.discard(path)
        # What crashed is tried again; what changed since it was looked up, or could not be read, has another identity.
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
    # A name that is no UTF-8 is shown with backslashes.
    name = os.fsencode(file.path).decode("utf-8", "backslashreplace")
    return PartRow(name, prepared, "ignored" if ignored else "rejected" if prepared.reason else "kept", slot)
