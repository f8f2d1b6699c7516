"""Photographs to LAB shards: decides the fate of every file, converts what is kept."""

import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from components.preprocess import pool
from components.preprocess.colors import color_table
from components.preprocess.duplicates import near_duplicates
from components.preprocess.dvc_remote import at_hand
from components.preprocess.labels import labels_by
from components.preprocess.worker import Prepared, Task, prepare
from components.progress import progress
from model import shards
from model.config import PreprocessConfig
from model.errors import UserError
from model.files import folder_aside
from model.shards import Row, Split

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
"""Of the files that are taken for photographs, in lower case."""


def preprocess(
    photos: Path | str, output: Path, config: PreprocessConfig, *, data_version: str, workers: int | None = None
) -> dict[str, Any]:
    """Turns a folder of photographs into a dataset folder (see `model.shards`).

    Every file below `photos` gets a row in the manifest, hidden ones aside. Rejected are, with a reason each:
    unreadable files; links that lead out of `photos`; a short side below `min_side`; a mean CIELAB chroma below
    `min_chroma`; exact duplicates; and near-duplicates (pHash of the central square, within `near_duplicate_bits`), of
    which the one with the smallest SHA-256 stays, so that no two look-alikes can land in different splits. The split
    of what is kept follows from the SHA-256 of the file's bytes alone. Its label is its own, whatever those of its
    duplicates are.

    The shards are the same to the byte whatever the files' names and the number of workers, as long as Pillow, its
    codecs and torch are. Memory holds a few photographs a worker and some hundred bytes of bookkeeping for each file;
    the disk, for the time being, twice the dataset.

    Args:
        photos: any folder structure; symbolic links to files inside are followed, those to folders are not. Or
            s3://bucket/prefix, a DVC remote that holds `data_version`.
        output: replaced as a whole, at the end.
        data_version: names the photographs' version; it goes into dataset.json.
        workers: processes that decode; by default one for each processor.

    Returns:
        {"kept": n, "train": n, "val": n, "test": n, "ignored": n, "rejected": {kind of reason: n},
        "labels": {label: n}}.

    Raises:
        UserError: `photos` is no folder, the output cannot be written, too few photographs remain, or none for
            training or test; the labels cannot be had (see `labels_by`), or no photograph gets one; the
            photographs cannot be fetched (see `dvc_remote.fetch`).
    """
    with at_hand(photos, data_version) as folder:
        return _preprocess(folder, output, config, data_version, workers or pool.cores())


def _preprocess(
    photos: Path, output: Path, config: PreprocessConfig, data_version: str, workers: int
) -> dict[str, Any]:
    if not photos.is_dir():
        raise UserError(f"{photos} is no folder; give the folder of photographs.")
    inside, outside = photos.resolve(), output.resolve()
    if inside.is_relative_to(outside) or outside.is_relative_to(inside):
        raise UserError(f"{output} and {photos} lie in one another; choose another folder for the dataset.")
    try:
        with folder_aside(output, "dataset.json") as folder, tempfile.TemporaryFile(dir=folder) as pixels:
            return _fill(folder, pixels.fileno(), photos, config, data_version, workers)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}; make room, or give another folder.") from None


@dataclass(frozen=True)
class _Candidate:
    """A photograph with nothing against it so far: its row, its slot, its perceptual hash and its mirror image's."""

    row: Row
    slot: int
    hash: int
    mirrored: int


def _fill(
    folder: Path, pixels: int, photos: Path, config: PreprocessConfig, data_version: str, workers: int
) -> dict[str, Any]:
    label_of = labels_by(config.labels, photos)
    task = Task(config.size, config.min_side, config.min_chroma, color_table(workers), pixels)
    rows: list[Row] = []
    candidates: list[_Candidate] = []
    jobs: list[tuple[int, Path]] = []
    for path in _files(photos):
        if why := _closed(path, photos):
            rows.append(_row(photos, path, Prepared("", reason=why), "rejected", why))
        elif path.suffix.lower() in SUFFIXES:
            jobs.append((len(jobs), path))
        else:
            rows.append(_row(photos, path, Prepared(_sha256(path)), "ignored", "no photograph by its suffix"))
    with progress(len(jobs), "preprocess", "photographs") as advance:
        for (slot, path), found in pool.in_processes(partial(prepare, task=task), jobs, workers):
            prepared = found or Prepared(_sha256(path), reason="unreadable: it crashes the decoder")
            if prepared.reason:
                rows.append(_row(photos, path, prepared, "rejected", prepared.reason))
            else:
                row = _row(photos, path, prepared, "kept", "")
                candidates.append(_Candidate(row, slot, prepared.hash, prepared.mirrored))
            advance(1)

    slots: dict[str, int] = {}
    for candidate, reason in _without_duplicates(candidates, config.near_duplicate_bits):
        if reason:
            rows.append(replace(candidate.row, status="rejected", reason=reason))
        else:
            row = candidate.row
            rows.append(replace(row, split=split_of(row.sha256, config), label=label_of(row.path)))
            slots[row.sha256] = candidate.slot
    summary = _summary(rows)
    _require_enough(photos, summary, config)
    shards.write(folder, rows, lambda sha256: task.read(slots[sha256]), size=config.size, data_version=data_version)
    sources = photos / shards.SOURCES
    if sources.is_file() and not _closed(sources, photos):
        shutil.copyfile(sources, folder / shards.SOURCES)
    return summary


def split_of(sha256: str, config: PreprocessConfig) -> Split:
    """The split of a photograph: its hash, as a number, modulo 100."""
    percent = int(sha256, 16) % 100
    if percent < config.test_percent:
        return "test"
    return "val" if percent < config.test_percent + config.val_percent else "train"


def _files(photos: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(photos):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _closed(path: Path, photos: Path) -> str:
    """Why a path is not even opened: a link could show what is not the photographs' owner's, a pipe could block."""
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(photos.resolve()):
        return "outside: a link that leads out of the folder"
    return "unreadable: neither a file nor a link to one" if path.exists() and not path.is_file() else ""


def _row(photos: Path, path: Path, prepared: Prepared, status: Any, reason: str) -> Row:
    # A name that is no UTF-8 is shown with backslashes.
    name = os.fsencode(path.relative_to(photos).as_posix()).decode("utf-8", "backslashreplace")
    return Row(name, prepared.sha256, prepared.width, prepared.height, None, status, reason)


def _sha256(path: Path) -> str:
    """Of a file's bytes; empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _without_duplicates(candidates: list[_Candidate], bits: int) -> Iterator[tuple[_Candidate, str]]:
    """Each candidate with what it duplicates, or with an empty reason."""
    firsts: dict[str, _Candidate] = {}
    for candidate in sorted(candidates, key=lambda candidate: candidate.row.path):
        first = firsts.setdefault(candidate.row.sha256, candidate)
        if first is not candidate:
            yield candidate, f"duplicate: the same file as {first.row.path}"
    distinct = [firsts[sha256] for sha256 in sorted(firsts)]
    hashes = np.array([candidate.hash for candidate in distinct], dtype=np.uint64)
    mirrored = np.array([candidate.mirrored for candidate in distinct], dtype=np.uint64)
    for candidate, kin in zip(distinct, near_duplicates(hashes, mirrored, bits).tolist(), strict=True):
        twin = distinct[kin]
        yield candidate, "" if twin is candidate else f"near-duplicate: looks like {twin.row.path}"


def _summary(rows: list[Row]) -> dict[str, Any]:
    splits = Counter(row.split for row in rows)
    statuses = Counter(row.status for row in rows)
    rejected = Counter(row.reason.partition(":")[0] for row in rows if row.status == "rejected")
    return {
        "kept": statuses["kept"],
        **{str(split): splits[split] for split in shards.SPLITS},
        "ignored": statuses["ignored"],
        "rejected": dict(rejected.most_common()),
        "labels": dict(sorted(Counter(row.label for row in rows if row.label).items())),
    }


def _require_enough(photos: Path, summary: dict[str, Any], config: PreprocessConfig) -> None:
    rejected = ", ".join(f"{count} {kind}" for kind, count in summary["rejected"].items()) or "none"
    if summary["kept"] < config.min_photographs:
        raise UserError(
            f"{photos}: {summary['kept']} usable photographs, preprocess.min_photographs asks for "
            f"{config.min_photographs}; rejected: {rejected}; ignored: {summary['ignored']} other files."
        )
    for split in ("train", "test"):
        if not summary[split]:
            raise UserError(
                f"{photos}: none of {summary['kept']} usable photographs falls into the {split} split; add photographs "
                f"(rejected: {rejected})."
            )
    if config.labels and not summary["labels"]:
        raise UserError(
            f"{photos}: preprocess.labels is {config.labels}, and none of {summary['kept']} usable photographs gets a "
            "label by it."
        )
