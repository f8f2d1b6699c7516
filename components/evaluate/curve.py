"""The strength curve: a model's figures as its calibration is weakened and strengthened, against its colorfulness.

A model with paler colors has a lower `l1_ab`, so two models compare only where they are equally colorful.
"""

from collections.abc import Mapping, Sequence

import torch

from components.evaluate.accumulate import MetricAccumulator, Pictures
from components.evaluate.candidates import GeneratorCandidate
from components.evaluate.features import FeatureNetworks
from components.evaluate.figures import PerImage, figures
from components.evaluate.slices import Slice

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
"""Shares of the generator's own chroma correction."""
MOST = 2000
"""Number of photographs on which the curve is measured: the first ones, a random sample as SHA-256 orders them."""
FIGURES = ("l1_ab", "kid_efflite0", "kid", "colorfulness", "colorfulness_real", "colorfulness_error")

Points = list[dict[str, float]]


class CurveAccumulator:
    """Accumulates the figures of one model at each strength. The network colors each photograph once."""

    def __init__(self) -> None:
        self._at = {strength: MetricAccumulator() for strength in STRENGTHS if strength != 1.0}

    def add(
        self,
        candidate: GeneratorCandidate,
        samples: torch.Tensor,
        truth: Pictures,
        lightness: torch.Tensor,
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


def points(sets: Mapping[float, PerImage], truth: PerImage) -> Points:
    """Returns the figures at each strength, the weakest first, with `share`: of the photographs' own colorfulness.

    Args:
        sets: strength -> colorings of the photographs.
        truth: of the photographs.
    """
    found = []
    once = torch.ones(1, len(truth), dtype=torch.float64)
    for strength in STRENGTHS:
        values = {name: float(value) for name, value in figures(sets[strength], truth, once).items()}
        if not all(torch.isfinite(torch.tensor(values[name])) for name in FIGURES if name in values):
            return []
        share = values["colorfulness"] / max(values["colorfulness_real"], 1e-6)
        shown = {name: values[name] for name in FIGURES if name in values}
        found.append({"strength": strength, "share": share, **shown})
    return found


def curves(
    models: Mapping[str, CurveAccumulator], own: Mapping[str, PerImage], truth: PerImage, slices: Mapping[str, Slice]
) -> tuple[dict[str, Points], dict[str, dict[str, Points]]]:
    """Returns the points of each calibrated model, over all photographs and by slice.

    Args:
        models: name -> its colorings at other strengths.
        own: model -> its colorings at its own strength.
        truth: of the photographs.
        slices: name -> slice; those with a single photograph of the curve's are left out.
    """
    sets = {who: each.sets(own[who]) for who, each in models.items()}
    count = min((len(each[0.0]) for each in sets.values()), default=0)
    whole = {who: points(each, truth.take(range(count))) for who, each in sets.items()}
    parts = {}
    for name, each in slices.items() if count else ():
        rows = [row for row in each.rows if row < count]
        if len(rows) > 1:
            parts[name] = {who: _taken(one, truth, rows) for who, one in sets.items()}
    return whole, parts


def _taken(sets: Mapping[float, PerImage], truth: PerImage, rows: Sequence[int]) -> Points:
    return points({strength: each.take(rows) for strength, each in sets.items()}, truth.take(rows))
