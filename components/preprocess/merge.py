"""Merging of all partitions into the dataset: duplicates, splits and labels."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.preprocess.config import PreprocessConfig
from components.preprocess.labels import labels_by
from components.preprocess.look_alikes import LookAlikes, Member
from components.preprocess.prepared import PIXELS, Pixels, read_rows
from components.preprocess.split_record import SplitRecord
from components.shared.photos import listing
from model.data.format import SPLITS, Row, Split
from model.data.writer import write_dataset
from model.utils.errors import UserError
from model.utils.files import folder_aside


@dataclass(frozen=True)
class _Candidate:
    """Stores a photograph that may be kept: its row, its part and slot, its perceptual hashes."""

    row: Row
    part: Path
    slot: int
    member: Member


def merge(
    listed: Path,
    parts: Sequence[Path],
    output: Path,
    config: PreprocessConfig,
    *,
    photos: str,
    data_version: str,
    record: SplitRecord | None = None,
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
        record: the look-alikes of earlier data versions, which decide the splits; new photographs are added to it.

    Returns:
        The counts that `step.preprocess` returns.

    Raises:
        UserError: the output cannot be written; too few photographs remain, or none for training or test; the labels
            cannot be read (see `labels_by`), or no photograph gets one; the record cannot be read or written.
    """
    rows, candidates = _read(parts)
    paths = {row.path for row in rows} | {candidate.row.path for candidate in candidates}
    label_of = labels_by(config.labels, listed / listing.LABELS, paths)
    judged, by_sha256, new = _judge(candidates, record.read() if record else [], config)
    rows += [replace(row, label=label_of(row.path)) if row.split else row for row in judged]
    rows.sort(key=lambda row: row.path)
    summary = _summary(rows)
    _require_enough(photos, summary, config)
    if record:
        record.add(new)  # before the dataset appears: a second attempt finds the same splits

    def lab_of(sha256: str) -> NDArray[np.uint8]:
        with (by_sha256[sha256].part / PIXELS).open("rb") as pixels:
            return Pixels(pixels.fileno(), config.size).read(by_sha256[sha256].slot)

    try:
        with folder_aside(output, "dataset.json") as folder:
            write_dataset(folder, rows, lab_of, size=config.size, data_version=data_version)
            listing.hand_on_sources(listed, folder)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}; make room, or give another folder.") from None
    return summary


def split_of(sha256: str, config: PreprocessConfig) -> Split:
    """Returns the split of look-alikes, a function of the first one's hash modulo 100."""
    percent = int(sha256, 16) % 100
    if percent < config.test_percent:
        return "test"
    return "val" if percent < config.test_percent + config.val_percent else "train"


def _read(parts: Sequence[Path]) -> tuple[list[Row], list[_Candidate]]:
    """Reads the rows that are final, and the photographs that may be kept."""
    rows: list[Row] = []
    candidates: list[_Candidate] = []
    for part in parts:
        for found in read_rows(part):
            prepared = found.prepared
            row = Row(found.path, prepared.sha256, prepared.width, prepared.height, None, found.status, prepared.reason)
            if found.status == "kept":
                member = Member(row.sha256, prepared.hash, prepared.mirrored, prepared.crops)
                candidates.append(_Candidate(row, part, found.slot, member))
            else:
                rows.append(row)
    return rows, candidates


def _judge(
    candidates: Sequence[_Candidate], recorded: Sequence[Member], config: PreprocessConfig
) -> tuple[list[Row], dict[str, _Candidate], list[Member]]:
    """Returns the candidates' rows with splits or reasons, candidates by SHA-256, and what the record lacks."""
    rows: list[Row] = []
    distinct: dict[str, _Candidate] = {}
    for candidate in sorted(candidates, key=lambda candidate: candidate.row.path):
        if (same := distinct.setdefault(candidate.row.sha256, candidate)) is not candidate:
            rows.append(_rejected(candidate.row, f"duplicate: the same file as {same.row.path}"))
    members = [candidate.member for candidate in distinct.values()]
    look_alikes = LookAlikes(config.near_duplicate_bits, partial(split_of, config=config))
    like = look_alikes.kept(members, recorded)
    new = look_alikes.grouped(members, recorded, like)
    first = {member.sha256: member.first for member in reversed([*recorded, *new])}
    for sha256, candidate in distinct.items():
        if like[sha256] == sha256:
            rows.append(replace(candidate.row, split=split_of(first[sha256], config)))
        else:
            rows.append(_rejected(candidate.row, f"near-duplicate: looks like {distinct[like[sha256]].row.path}"))
    return rows, distinct, new


def _rejected(row: Row, reason: str) -> Row:
    return replace(row, status="rejected", reason=reason)


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
