"""Tests of the bootstrap intervals: their coverage, and no promotion by noise."""

from collections import defaultdict

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from components.evaluate import bootstrap
from components.evaluate.accumulate import distances
from components.evaluate.bootstrap import PerImage, differences
from components.evaluate.features import Space
from components.register.config import Rule
from components.register.gate import judge
from model.metrics.ab_intersection import BINS, ab_intersection
from pipeline.config import load_config
from tests.support.tiny import ROOT

COUNT = 83
"""Number of test photographs in the sample data."""


def _histograms(rng: np.random.Generator, centers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns histograms of 400 pixels around each photograph's a and b: (N, 2) to (N, 2, BINS)."""
    pixels = np.clip(rng.normal(centers[..., None], 12, (*centers.shape, 400)) + BINS / 2, 0, BINS - 1).astype(int)
    return np.stack([[np.bincount(channel, minlength=BINS) for channel in one] for one in pixels]).astype(float)


def _colorings(
    rng: np.random.Generator, centers: NDArray[np.float64], shrunk: float = 1.0, noise: float = 10
) -> PerImage:
    """Simulates a model with random errors of each photograph's colors; `shrunk` below 1 makes it paler."""
    missed = rng.normal(0, noise, centers.shape)
    columns = {"l1_ab": np.abs(missed).mean(axis=1), "colorfulness": np.abs(centers).mean(axis=1) * shrunk}
    return PerImage(columns, _histograms(rng, shrunk * centers + missed), {"kernel": (shrunk * centers + missed) / 25})


def _photographs(rng: np.random.Generator, count: int = COUNT) -> tuple[NDArray[np.float64], PerImage]:
    centers = rng.normal(0, 25, (count, 2))
    columns = {"colorfulness": np.abs(centers).mean(axis=1)}
    return centers, PerImage(columns, _histograms(rng, centers), {"kernel": centers / 25})


def _overlap(model: PerImage, truth: PerImage) -> float:
    return float(ab_intersection(*(torch.from_numpy(each.histograms.sum(axis=0)) for each in (model, truth))))


def _distance(model: PerImage, truth: PerImage) -> float:
    space = Space("kernel", "frechet", 10**9, torch.nn.Identity())
    return distances(space, *(torch.from_numpy(each.features["kernel"]) for each in (truth, model)))["kernel"]


def _some(whole: PerImage, chosen: NDArray[np.int64]) -> PerImage:
    columns, features = (
        {name: values[chosen] for name, values in each.items()} for each in (whole.columns, whole.features)
    )
    return PerImage(columns, whole.histograms[chosen], features)


def _gate(ours: PerImage, theirs: PerImage, truth: PerImage, seed: int) -> tuple[bool, bool]:
    """Returns the decisions of the rules of params.yaml: with intervals, and by the metrics alone."""
    rules = {
        name: Rule(
            **{**rule.model_dump(), "change": min(rule.change, 0.0)}
        )  # no margin, so that noise alone could promote
        for name, rule in load_config(ROOT / "params.yaml").register_.rules.items()
    }
    figures = [
        {"ab_intersection": _overlap(e, truth), "l1_ab": float(e.columns["l1_ab"].mean())} for e in (ours, theirs)
    ]
    ends = differences(ours, theirs, truth, seed, 0.95)
    sure = {name: {"low": low, "high": high, "confidence": 0.95} for name, (low, high) in ends.items()}
    gaps = {name: figures[0][name] - figures[1][name] for name in figures[0]}
    naive = {name: {"low": gap, "high": gap, "confidence": 0.95} for name, gap in gaps.items()}
    with_intervals, alone = (judge(*figures, rules, each).outcome == "promote" for each in (sure, naive))
    return with_intervals, alone


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
        ours, theirs, real = (_some(each, chosen) for each in whole)
        differed["l1_ab"].append(float((ours.columns["l1_ab"] - theirs.columns["l1_ab"]).mean()))
        differed["ab_intersection"].append(_overlap(ours, real) - _overlap(theirs, real))
        differed["kernel"].append(_distance(ours, real) - _distance(theirs, real))
        for name, ends in differences(ours, theirs, real, trial, 0.95).items():
            intervals[name].append(ends)
    for name, values in differed.items():
        missed = sum(not low <= np.mean(values) <= high for low, high in intervals[name])
        assert missed <= 12, name
        assert 0.5 < np.mean([high - low for low, high in intervals[name]]) / (4 * np.std(values)) < 2, name


def test_a_model_compared_with_itself_has_zero_differences() -> None:
    rng = np.random.default_rng(2)
    centers, truth = _photographs(rng, 20)
    model = _colorings(rng, centers)
    assert set(differences(model, model, truth, 0, 0.95).values()) == {(0.0, 0.0)}


def test_a_non_finite_metric_has_no_interval() -> None:
    rng = np.random.default_rng(3)
    centers, truth = _photographs(rng, 20)
    ours, theirs = _colorings(rng, centers), _colorings(rng, centers)
    ours.columns["l1_ab"][4] = np.nan
    assert differences(ours, theirs, truth, 0, 0.95).keys() == {
        "colorfulness",
        "delta_colorfulness",
        "ab_intersection",
        "kernel",
    }
