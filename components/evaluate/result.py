"""The results of an evaluation: the content of metrics.json and of per_photograph.parquet."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import torch

from components.evaluate import protocol
from components.evaluate.accumulate import MetricAccumulator
from components.evaluate.pictures import Shown
from model.data.shards import Shards
from model.metrics.table import METRICS


def content(
    scores: Mapping[str, Mapping[str, float]], absent: Mapping[str, str], conditions: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the content of metrics.json. JSON has no NaN: such a figure is None, with a reason in `absent`.

    Args:
        scores: candidate -> figure by name.
        absent: the reasons for figures that were not measured.
        conditions: the protocol.
    """
    reasons = dict(absent)
    figures: dict[str, dict[str, float | None]] = {}
    for who, row in scores.items():
        figures[who] = {name: row[name] if math.isfinite(row[name]) else None for name in METRICS if name in row}
        for name in (name for name, value in figures[who].items() if value is None):
            reasons[name if who == "challenger" else f"{who}.{name}"] = protocol.not_finite(who)
    challenger = figures.pop("challenger")
    return {**challenger, **figures, "absent": reasons, "protocol": dict(conditions)}


def differences(
    result: Mapping[str, Any], ends: Mapping[str, tuple[float, float]], confidence: float
) -> dict[str, dict[str, float]]:
    """Returns challenger minus champion by metric, in the order of the report's table.

    Args:
        result: content of metrics.json.
        ends: the ends of each difference's interval.
        confidence: of the intervals, 0..1.
    """
    found = {}
    for name in (name for name in METRICS if name in ends):
        ours, theirs = result[name], result["champion"][name]
        if ours is not None and theirs is not None:
            low, high = ends[name]
            found[name] = {"value": ours - theirs, "low": low, "high": high, "confidence": confidence}
    return found


def examples(shown: Sequence[Shown]) -> dict[str, list[dict[str, Any]]]:
    """Returns path and l1_ab of the photographs of samples.png by group; l1_ab is None if not finite."""
    examples: dict[str, list[dict[str, Any]]] = {}
    for photograph in shown:
        error = photograph.l1_ab["challenger"]
        entry = {"path": photograph.path, "l1_ab": error if math.isfinite(error) else None}
        examples.setdefault(photograph.group, []).append(entry)
    return examples


def table(test: Shards, truth: MetricAccumulator, photographs: Mapping[str, Mapping[str, torch.Tensor]]) -> pa.Table:
    """Returns a row for each photograph: sha256, path, the challenger's figures, the champion's with a prefix."""
    real = truth.per_photograph()["colorfulness"].numpy()
    columns: dict[str, Any] = {"sha256": test.sha256s[: len(real)], "path": test.paths[: len(real)]}
    columns["colorfulness_real"] = real
    for who, figures in photographs.items():
        prefix = "" if who == "challenger" else f"{who}_"
        columns |= {prefix + name: values.numpy() for name, values in figures.items()}
    return pa.table(columns)
