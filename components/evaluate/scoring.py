"""Scoring of candidates: every photograph is colored by each, and the figures are compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from components.evaluate.accumulate import MetricAccumulator, frechet_distances, measure
from components.evaluate.candidates import Candidate, GeneratorCandidate
from components.evaluate.config import EvaluateConfig
from components.evaluate.curve import CurveAccumulator, curves
from components.evaluate.features import FeatureNetworks
from components.evaluate.protocol import SAMPLED
from components.evaluate.result import sliced, summary
from components.evaluate.skin import SkinAccumulator
from components.evaluate.slices import find_slices
from components.shared.machine.progress import progress
from model.color import decode_lab
from model.data.shards import Shards


@dataclass(frozen=True)
class Accumulated:
    """Holds what was measured of the same photographs."""

    truth: MetricAccumulator
    colorings: dict[str, MetricAccumulator]
    """Candidate -> its colorings; `challenger`, the baselines, perhaps `champion`."""
    curves: dict[str, CurveAccumulator]
    """Calibrated model -> its colorings at other strengths."""
    skin: SkinAccumulator
    """The color of faces, by candidate."""


def accumulate(
    test: Shards,
    count: int,
    candidates: Mapping[str, Candidate],
    networks: FeatureNetworks,
    batch_size: int,
    device: torch.device,
) -> Accumulated:
    """Measures the first `count` photographs, and the colorings of each candidate."""
    truth, figures = MetricAccumulator(), {name: MetricAccumulator() for name in candidates}
    calibrated = [name for name, each in candidates.items() if isinstance(each, GeneratorCandidate) and each.calibrated]
    curves, skin = {name: CurveAccumulator() for name in calibrated}, SkinAccumulator()
    with progress(count, "evaluate", unit="photographs") as advance, torch.inference_mode():
        for start in range(0, count, batch_size):
            indices = range(start, min(start + batch_size, count))
            stored = torch.from_numpy(test[indices]).to(device)
            photographs = measure(decode_lab(stored), networks)
            truth.add_truth(photographs)
            skin.add_truth(stored, indices)
            lightness = stored[:, :1]
            for name, candidate in candidates.items():
                if isinstance(candidate, GeneratorCandidate):
                    samples = candidate.uncalibrated(lightness, indices)
                    colorings = candidate.scaled(samples, 1.0)
                    if name in curves and start < SAMPLED:
                        curves[name].add(candidate, samples, photographs, lightness, networks)
                else:
                    colorings = candidate(lightness, indices)
                figures[name].add(photographs, lightness, colorings, networks)
                skin.add(name, lightness, colorings[0])
            advance(len(indices))
    return Accumulated(truth, figures, curves, skin)


def compare(
    test: Shards, accumulated: Accumulated, networks: FeatureNetworks, config: EvaluateConfig
) -> dict[str, Any]:
    """Returns the figures over all photographs as `result.summary` does, and those of each slice under `slices`.

    Both have the points of each calibrated model's strength curve under `curve`, and `equal_colorfulness`.
    `skin` has the errors inside faces.

    Args:
        test: the test split.
        accumulated: of its first photographs.
        networks: those of the accumulation.
        config: seed and confidence of the intervals.
    """
    real = accumulated.truth.per_image()
    sets = {name: each.per_image() for name, each in accumulated.colorings.items()}
    frechet = {name: frechet_distances(each, real, networks.spaces) for name, each in sets.items()}
    slices = find_slices(test.paths[: len(real)], test.labels[: len(real)])
    whole, parts = curves(accumulated.curves, sets, real, slices, config)
    found = sliced(slices, sets, real, config)
    return {
        **summary(sets, real, config, frechet),
        **whole,
        "slices": {name: each | parts[name] for name, each in found.items()},
        "skin": accumulated.skin.figures(),
    }
