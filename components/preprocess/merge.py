"""Merging of all partitions into the dataset: duplicates, splits and labels."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.preprocess.config import PreprocessConfig
from components.preprocess.duplicates import near_duplicates
from components.preprocess.labels import labels_by
from components.preprocess.prepared import PIXELS, Pixels, read_rows
from components.shared.photos import listing
from model.data.format import SPLITS, Row, Split
from model.data.writer import write_dataset
from model.utils.errors import UserError
from model.utils.files import folder_aside


@dataclass(frozen=True)
class _Candidate:
    """Stores a photograph that may be kept: its row, its part and slot, its perceptual hash and its mirror image's."""

    row: Row
    part: Path
    slot: int
    hash: int
    mirrored: int


def merge(
    listed: Path, parts: Sequence[Path], output: Path, config: PreprocessConfig, *, photos: str, data_version: str
) -> dict[str, Any]:
    """Writes the dataset folder (see `model.data.format`) from the prepared partitions.

    The number and the order of the partitions do not change a byte of the result. Memory holds some hundred bytes for
    each file, and no pixels.

    Args:
        listed: folder of the listing.
        parts: folders that `prepare_part` wrote, one for every partition.
        output: dataset folder; replaced as a whole, at the end.
        config: section `preprocess`.
        photos: name of the photographs in error messages.
        data_version: the photographs' version, for dataset.json.

    Returns:
        The counts that `step.preprocess` returns.

    Raises:
        UserError: the output cannot be written; too few photographs remain, or none for training or test; the labels
            cannot be read (see `labels_by`), or no photograph gets one.
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
    """Returns the split of a photograph, a function of its hash modulo 100."""
    percent = int(sha256, 16) % 100
    if percent < config.test_percent:
        return "test"
    return "val" if percent < config.test_percent + config.val_percent else "train"


def _without_duplicates(candidates: list[_Candidate], bits: int) -> Iterator[tuple[_Candidate, str]]:
    """Yields each candidate with the reason to reject it as a duplicate, empty for a candidate to keep."""
    firsts: dict[str, _Candidate] = {}
    for candidate in sorted(candidates, key=lambda candidate: candidate.row.path):
        first = firsts.setdefault(candidate.row.sha256, candidate)
        if first is not candidate:
            yield candidate, f"duplicate: the same file as {first.row.path}"
    distinct = [firsts[sha256] for sha256 in sorted(firsts)]
    hashes = np.array([candidate.hash for candidate in distinct], dtype=np.uint64)
    mirrored = np.array([candidate.mirrored for candidate in distinct], dtype=np.uint64)
    for candidate, place in zip(distinct, near_duplicates(hashes, mirrored, bits).tolist(), strict=True):
        first = distinct[place]
        yield candidate, "" if first is candidate else f"near-duplicate: looks like {first.row.path}"


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
            f"{photos}: preprocess.labels is {config.labels}, which gives a label to none of {summary['kept']} usable "
            "photographs; correct it."
        )
