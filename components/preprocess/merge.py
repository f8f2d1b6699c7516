"""All partitions together: duplicates among them, splits, labels; the dataset."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.preprocess.duplicates import near_duplicates
from components.preprocess.labels import labels_by
from components.preprocess.prepared import PIXELS, Pixels, read_rows
from components.shared.photos import listing
from model.config import PreprocessConfig
from model.data.format import SPLITS, Row, Split
from model.data.writer import write_dataset
from model.utils.errors import UserError
from model.utils.files import folder_aside


@dataclass(frozen=True)
class _Candidate:
    """A photograph with nothing against it so far: its row, its part and slot, its perceptual hash and its mirror's."""

    row: Row
    part: Path
    slot: int
    hash: int
    mirrored: int


def merge(
    listed: Path, parts: Sequence[Path], output: Path, config: PreprocessConfig, *, photos: str, data_version: str
) -> dict[str, Any]:
    """Makes the dataset folder (see `model.data.format`) of what `prepare_part` left of every partition.

    The result is the same to the byte however many partitions there are, and in whatever order. Memory holds some
    hundred bytes of bookkeeping for each file, and no pixels.

    Args:
        listed: the listing.
        parts: of all its partitions.
        output: replaced as a whole, at the end.
        config: section `preprocess`.
        photos: what errors call them.
        data_version: names the photographs' version; it goes into dataset.json.

    Returns:
        As `step.preprocess`.

    Raises:
        UserError: the output cannot be written; too few photographs remain, or none for training or test; the labels
            cannot be had (see `labels_by`), or no photograph gets one.
    """
    rows: list[Row] = []
    candidates: list[_Candidate] = []
    for part in parts:
        for found in read_rows(part):
            prepared = found.prepared
            row = Row(found.path, prepared.sha256, prepared.width, prepared.height, None, found.status, prepared.reason)
            if found.status == "kept":
                candidates.append(_Candidate(row, part, found.slot, prepared.hash, prepared.mirrored))
            else:
                rows.append(row)
    paths = {row.path for row in rows} | {candidate.row.path for candidate in candidates}
    label_of = labels_by(config.labels, listed / listing.LABELS, paths)
    kept: dict[str, _Candidate] = {}
    for candidate, reason in _without_duplicates(candidates, config.near_duplicate_bits):
        row = candidate.row
        if reason:
            rows.append(replace(row, status="rejected", reason=reason))
        else:
            rows.append(replace(row, split=split_of(row.sha256, config), label=label_of(row.path)))
            kept[row.sha256] = candidate
    rows.sort(key=lambda row: row.path)
    summary = _summary(rows)
    _require_enough(photos, summary, config)

    def lab_of(sha256: str) -> NDArray[np.uint8]:
        with (kept[sha256].part / PIXELS).open("rb") as pixels:
            return Pixels(pixels.fileno(), config.size).read(kept[sha256].slot)

    try:
        with folder_aside(output, "dataset.json") as folder:
            write_dataset(folder, rows, lab_of, size=config.size, data_version=data_version)
            listing.hand_on_sources(listed, folder)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}; make room, or give another folder.") from None
    return summary


def split_of(sha256: str, config: PreprocessConfig) -> Split:
    """The split of a photograph: its hash, as a number, modulo 100."""
    percent = int(sha256, 16) % 100
    if percent < config.test_percent:
        return "test"
    return "val" if percent < config.test_percent + config.val_percent else "train"


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
        **{str(split): splits[split] for split in SPLITS},
        "ignored": statuses["ignored"],
        "rejected": dict(rejected.most_common()),
        "labels": dict(sorted(Counter(row.label for row in rows if row.label).items())),
    }


def _require_enough(photos: str, summary: dict[str, Any], config: PreprocessConfig) -> None:
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
