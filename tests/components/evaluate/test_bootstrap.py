"""Tests of the bootstrap intervals: their coverage, and no promotion by noise."""

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from components.evaluate import bootstrap
from components.evaluate.figures import PerImage
from components.evaluate.result import summary
from components.register.config import Rule
from components.register.gate import judge
from model.metrics.ab_intersection import BINS
from tests.support.made import config

COUNT = 83
"""Number of test photographs in the sample data."""

Array = NDArray[np.float64]


def _set(centers: Array, missed: Array, rng: np.random.Generator, spread: float = 12) -> PerImage:
    """Returns photographs of 400 pixels around each one's a and b."""
    shown = centers + missed
    pixels = np.clip(rng.normal(shown[..., None], spread, (*shown.shape, 400)) + BINS / 2, 0, BINS - 1).astype(int)
    counts = np.stack([[np.bincount(channel, minlength=BINS) for channel in one] for one in pixels]).astype(float)
    columns = {"l1_ab": np.abs(missed).mean(axis=1), "colorfulness": np.abs(shown).mean(axis=1)}
    return PerImage(
        {name: torch.from_numpy(each) for name, each in columns.items()},
        torch.from_numpy(counts),
        {"kid_efflite0": torch.from_numpy(shown / 25)},
    )


def _colorings(rng: np.random.Generator, centers: Array, shrunk: float = 1.0, noise: float = 10) -> PerImage:
    """Simulates a model with random errors of each photograph's colors; `shrunk` below 1 makes it paler."""
    return _set(centers, (shrunk - 1) * centers + rng.normal(0, noise, centers.shape), rng)


def _photographs(rng: np.random.Generator, count: int = COUNT) -> tuple[Array, PerImage]:
    centers = rng.normal(0, 25, (count, 2))
    return centers, _set(centers, np.zeros_like(centers), rng)


def _compared(ours: PerImage, theirs: PerImage, truth: PerImage, seed: int) -> dict[str, Any]:
    """Returns the figures of two models, with those of gray, as the evaluate step has them."""
    for each in (ours, theirs):
        error = (each.columns["colorfulness"] - truth.columns["colorfulness"]).abs()
        each.columns["colorfulness_error"] = error  # type: ignore[index]
    return summary({"challenger": ours, "champion": theirs}, truth, config(seed=seed))


def _gate(ours: PerImage, theirs: PerImage, truth: PerImage, seed: int) -> tuple[bool, bool]:
    """Returns the decisions of two rules without a margin: with intervals, and by the metrics alone."""
    rules = {
        "ab_intersection": Rule(direction="up", change=0.0, bound=0.0),
        "l1_ab": Rule(direction="down", change=-0.3, bound=100.0),
    }
    compared = _compared(ours, theirs, truth, seed)
    gaps = {name: gap | {"low": gap["value"], "high": gap["value"]} for name, gap in compared["difference"].items()}
    sure, alone = (judge(each, rules).outcome == "promote" for each in (compared, compared | {"difference": gaps}))
    return sure, alone


def test_one_of_two_equal_models_is_rarely_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "RESAMPLES", 500)
    promoted = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        centers, truth = _photographs(rng)
        promoted.append(_gate(_colorings(rng, centers), _colorings(rng, centers), truth, seed))
    with_intervals, alone = np.sum(promoted, axis=0)
    assert with_intervals <= 5
    assert alone >= 25  # without intervals, noise promotes


def test_a_better_model_is_promoted() -> None:
    rng = np.random.default_rng(0)
    centers, truth = _photographs(rng)
    assert _gate(_colorings(rng, centers, noise=6), _colorings(rng, centers, shrunk=0.5), truth, 0) == (True, True)


def test_intervals_cover_the_true_difference_with_the_given_confidence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "RESAMPLES", 400)
    rng = np.random.default_rng(0)
    centers, truth = _photographs(rng, 2000)
    whole = [_colorings(rng, centers), _colorings(rng, centers, shrunk=0.7), truth]
    differed: dict[str, list[float]] = defaultdict(list)
    intervals: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for trial in range(100):
        chosen = rng.choice(2000, COUNT, replace=False)
        compared = _compared(*(each.take(chosen.tolist()) for each in whole), trial)
        for name in ("l1_ab", "ab_intersection", "kid_efflite0", "colorfulness_error", "colorfulness_correlation"):
            gap = compared["difference"][name]
            differed[name].append(gap["value"])
            intervals[name].append((gap["low"], gap["high"]))
    for name, values in differed.items():
        missed = sum(not low <= np.mean(values) <= high for low, high in intervals[name])
        assert missed <= 12, name
        assert 0.5 < np.mean([high - low for low, high in intervals[name]]) / (4 * np.std(values)) < 2, name


def test_a_model_compared_with_itself_has_zero_differences() -> None:
    rng = np.random.default_rng(2)
    centers, truth = _photographs(rng, 20)
    model = _colorings(rng, centers)
    gaps = _compared(model, model, truth, 0)["difference"]
    assert {(gap["value"], gap["low"], gap["high"]) for gap in gaps.values()} == {(0.0, 0.0, 0.0)}


def test_a_non_finite_metric_has_no_interval() -> None:
    rng = np.random.default_rng(3)
    centers, truth = _photographs(rng, 20)
    ours, theirs = _colorings(rng, centers), _colorings(rng, centers)
    ours.columns["l1_ab"][4] = np.nan
    compared = _compared(ours, theirs, truth, 0)
    assert compared["l1_ab"] is None
    for intervals in (compared["difference"], compared["interval"]):
        assert "l1_ab" not in intervals
        assert "ab_intersection" in intervals
