"""The results of an evaluation: the content of metrics.json and of per_photograph.parquet."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from torch import Tensor

from components.evaluate import bootstrap, protocol
from components.evaluate.accumulate import MetricAccumulator
from components.evaluate.config import EvaluateConfig
from components.evaluate.figures import PerImage, figures
from components.evaluate.pictures import Shown
from components.evaluate.slices import Slice
from model.data.shards import Shards
from model.metrics.table import METRICS

BASELINES = ("gray", "mean_by_lightness")


def summary(
    sets: Mapping[str, PerImage],
    truth: PerImage,
    config: EvaluateConfig,
    more: Mapping[str, Mapping[str, float]] | None = None,
) -> dict[str, Any]:
    """Returns the figures of a challenger, their intervals, and their differences from the other candidates' figures.

    Args:
        sets: candidate -> its colorings of the same photographs: `challenger`, the baselines, perhaps `champion`.
        truth: of the photographs.
        config: seed and confidence of the intervals.
        more: candidate -> figures without an interval.

    Returns:
        The challenger's figures by name, None where not finite; `interval` (low, high); the figures of each other
        candidate by its name; `difference` from the champion, where there is one, and `baseline_difference` from each
        baseline, as value, low, high, confidence.
    """
    weights = bootstrap.weightings(len(truth), config.seed)
    values, drawn = {}, {}
    for who, each in sets.items():
        exact, drawn[who] = bootstrap.apart(figures(each, truth, weights))
        values[who] = {name: float(value) for name, value in exact.items()} | dict((more or {}).get(who, {}))
    found = {who: _ordered(each) for who, each in values.items()}

    def gaps(who: str) -> dict[str, dict[str, float]]:
        ours, theirs = values["challenger"], values[who]
        between = bootstrap.intervals(bootstrap.differences(drawn["challenger"], drawn[who]), config.confidence)
        exact = {name: ours[name] - theirs[name] for name in METRICS if name in between}
        return bootstrap.with_ends(exact, between, config.confidence)

    ends = bootstrap.intervals(drawn["challenger"], config.confidence)
    shown = {name: {"low": ends[name][0], "high": ends[name][1]} for name in METRICS if name in ends}
    result: dict[str, Any] = {
        **found["challenger"],
        **{who: each for who, each in found.items() if who != "challenger"},
    }
    if "champion" in sets:
        result["difference"] = gaps("champion")
    return {**result, "interval": shown, "baseline_difference": {who: gaps(who) for who in BASELINES if who in sets}}


def sliced(
    slices: Mapping[str, Slice], sets: Mapping[str, PerImage], truth: PerImage, config: EvaluateConfig
) -> dict[str, dict[str, Any]]:
    """Returns the `summary` of each slice by its name, with `by` and the number of `photographs`."""
    return {
        name: {"by": each.by, "photographs": len(each.rows)}
        | summary({who: one.take(each.rows) for who, one in sets.items()}, truth.take(each.rows), config)
        for name, each in slices.items()
    }


def reasons(result: Mapping[str, Any]) -> dict[str, str]:
    """Returns the reason for each figure of a `summary` that is None: JSON has no NaN."""
    found = {}
    for who in ("challenger", "champion", *BASELINES):
        row = result if who == "challenger" else result.get(who, {})
        for name in (name for name in METRICS if name in row and row[name] is None):
            found[name if who == "challenger" else f"{who}.{name}"] = protocol.not_finite(who)
    return found


def examples(shown: Sequence[Shown]) -> dict[str, list[dict[str, Any]]]:
    """Returns path and l1_ab of the photographs of samples.png by group; l1_ab is None if not finite."""
    examples: dict[str, list[dict[str, Any]]] = {}
    for photograph in shown:
        error = photograph.l1_ab["challenger"]
        entry = {"path": photograph.path, "l1_ab": error if math.isfinite(error) else None}
        examples.setdefault(photograph.group, []).append(entry)
    return examples


def table(test: Shards, truth: MetricAccumulator, photographs: Mapping[str, Mapping[str, Tensor]]) -> pa.Table:
    """Returns a row for each photograph: sha256, path, the challenger's figures, the champion's with a prefix."""
    real = truth.per_photograph()["colorfulness"].numpy()
    columns: dict[str, Any] = {"sha256": test.sha256s[: len(real)], "path": test.paths[: len(real)]}
    columns["colorfulness_real"] = real
    for who, measured in photographs.items():
        prefix = "" if who == "challenger" else f"{who}_"
        columns |= {prefix + name: values.numpy() for name, values in measured.items()}
    return pa.table(columns)


def _ordered(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: values[name] if math.isfinite(values[name]) else None for name in METRICS if name in values}
