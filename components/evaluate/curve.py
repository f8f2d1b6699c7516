"""The strength curve: a model's figures as its calibration is weakened and strengthened, against its colorfulness.

A model with paler colors has a lower `l1_ab`, so two models compare only where they are equally colorful.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from components.evaluate.accumulate import MetricAccumulator, Pictures
from components.evaluate.bootstrap import apart, intervals, weightings, with_ends
from components.evaluate.candidates import GeneratorCandidate
from components.evaluate.config import EvaluateConfig
from components.evaluate.features import FeatureNetworks
from components.evaluate.figures import PerImage, figures
from components.evaluate.slices import Slice

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
"""Shares of the generator's own chroma correction."""
FIGURES = ("l1_ab", "kid_efflite0", "kid", "colorfulness", "colorfulness_real", "colorfulness_error")

COMPARED = ("l1_ab", "kid_efflite0", "kid", "colorfulness_error")
SHARES = (0.8, 1.0)
"""Shares of the photographs' own colorfulness at which two models are compared."""


class CurveAccumulator:
    """Accumulates the figures of one model at each strength. The network colors each photograph once."""

    def __init__(self) -> None:
        self._at = {strength: MetricAccumulator() for strength in STRENGTHS if strength != 1.0}

    def add(
        self,
        candidate: GeneratorCandidate,
        samples: Tensor,
        truth: Pictures,
        lightness: Tensor,
        networks: FeatureNetworks,
    ) -> None:
        """Adds a batch of colorings.

        Args:
            candidate: that made them.
            samples: what its `uncalibrated` returned; the first is measured.
            truth: the photographs.
            lightness: (B, 1, H, W) uint8, their stored L.
            networks: those that `truth` was measured with.
        """
        for strength, accumulator in self._at.items():
            accumulator.add_color(truth, lightness, candidate.scaled(samples[0], strength), networks)

    def sets(self, own: PerImage) -> dict[float, PerImage]:
        """Returns each photograph's share of the figures at each strength.

        Args:
            own: of the model's own strength, for the same or more photographs.
        """
        found = {strength: each.per_image() for strength, each in self._at.items()}
        return found | {1.0: own.take(range(len(found[0.0])))}


def curve(
    sets: Mapping[str, Mapping[float, PerImage]], truth: PerImage, config: EvaluateConfig
) -> dict[str, dict[str, Any]]:
    """Returns the strength curve of each model, and the models' figures where they are equally colorful.

    Args:
        sets: model -> strength -> colorings of the photographs.
        truth: of the photographs, at least two.
        config: seed and confidence of the intervals.

    Returns:
        `curve`: model -> figures at each strength, the weakest first, with `share`: of the photographs' own
        colorfulness; none for a model whose figures are not finite. `equal_colorfulness`: share, such as "0.8" -> model
        -> figures, interpolated, where its curve reaches that share; with `difference` from the champion.
    """
    both = sets.keys() >= {"challenger", "champion"}
    weights = weightings(len(truth), config.seed)[: None if both else 1]
    exact, drawn = {}, {}
    for who, each in sets.items():
        exact[who], drawn[who] = apart(_stacked(each, truth, weights))
    equal: dict[str, Any] = {}
    for share in SHARES if both else ():
        between = {who: _at_share(each, share) for who, each in exact.items()}
        ours, theirs = (_at_share(drawn[who], share) for who in ("challenger", "champion"))
        ends = intervals({name: ours[name] - theirs[name] for name in ours}, config.confidence)
        equal[f"{share:g}"] = _compared(between, ends, config.confidence)
    return {"curve": {who: _points(each) for who, each in exact.items()}, "equal_colorfulness": equal}


def _stacked(sets: Mapping[float, PerImage], truth: PerImage, weights: Tensor) -> dict[str, Tensor]:
    """Returns each figure at each strength under several weightings: (STRENGTHS, R)."""
    found = [figures(sets[strength], truth, weights) for strength in STRENGTHS]
    stacked = {name: torch.stack([each[name] for each in found]) for name in FIGURES if name in found[0]}
    return {"share": stacked["colorfulness"] / stacked["colorfulness_real"].clamp(min=1e-6), **stacked}


def _points(stacked: Mapping[str, Tensor]) -> list[dict[str, float]]:
    if not all(bool(values.isfinite().all()) for values in stacked.values()):
        return []
    rows = ({name: float(values[place]) for name, values in stacked.items()} for place in range(len(STRENGTHS)))
    return [{"strength": strength, **row} for strength, row in zip(STRENGTHS, rows, strict=True)]


def _at_share(stacked: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Returns figures (R,) where the colorfulness has a share of the photographs' own; NaN beyond the curve's ends."""
    shares = stacked["share"]
    above = (shares < share).sum(dim=0, keepdim=True)  # stronger colors have a larger share
    inside = (above > 0) & (above < len(shares))
    above = above.clamp(1, len(shares) - 1)
    low, high = shares.gather(0, above - 1), shares.gather(0, above)
    part = ((share - low) / (high - low)).where(inside, torch.nan)
    return {
        name: torch.lerp(stacked[name].gather(0, above - 1), stacked[name].gather(0, above), part)[0]
        for name in COMPARED
        if name in stacked
    }


def _compared(
    between: Mapping[str, Mapping[str, Tensor]], ends: Mapping[str, tuple[float, float]], confidence: float
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for who, each in between.items():
        found[who] = {name: float(value) if bool(value.isfinite()) else None for name, value in each.items()}
    gaps = {name: float(between["challenger"][name] - between["champion"][name]) for name in ends}
    return found | {"difference": with_ends(gaps, ends, confidence)}


def curves(
    models: Mapping[str, CurveAccumulator],
    own: Mapping[str, PerImage],
    truth: PerImage,
    slices: Mapping[str, Slice],
    config: EvaluateConfig,
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Returns the `curve` of all photographs and that of each slice by its name.

    Args:
        models: name -> its colorings at other strengths.
        own: model -> its colorings at its own strength.
        truth: of the photographs.
        slices: name -> slice; those with a single photograph of the curve's have none.
        config: seed and confidence of the intervals.
    """
    sets = {who: each.sets(own[who]) for who, each in models.items()}
    count = min((len(each[0.0]) for each in sets.values()), default=0)

    def taken(rows: Sequence[int]) -> dict[str, Any]:
        if len(rows) < 2:
            return {"curve": {}, "equal_colorfulness": {}}
        some = {who: {strength: one.take(rows) for strength, one in each.items()} for who, each in sets.items()}
        return curve(some, truth.take(rows), config)

    parts = {name: taken([row for row in each.rows if row < count]) for name, each in slices.items()}
    return taken(range(count)), parts
