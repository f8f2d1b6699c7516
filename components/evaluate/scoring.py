"""Scoring of candidates: every photograph is colored by each, and the figures are compared."""

from collections.abc import Mapping
from typing import Any

import torch

from components.evaluate.accumulate import MetricAccumulator, frechet_distances, measure
from components.evaluate.candidates import Candidate
from components.evaluate.config import EvaluateConfig
from components.evaluate.features import FeatureNetworks
from components.evaluate.result import sliced, summary
from components.evaluate.slices import find_slices
from components.shared.machine.progress import progress
from model.color import decode_lab
from model.data.shards import Shards


def accumulate(
    test: Shards,
    count: int,
    candidates: Mapping[str, Candidate],
    networks: FeatureNetworks,
    batch_size: int,
    device: torch.device,
) -> tuple[MetricAccumulator, dict[str, MetricAccumulator]]:
    """Measures the first `count` photographs, and the colorings of each candidate."""
    truth, figures = MetricAccumulator(), {name: MetricAccumulator() for name in candidates}
    with progress(count, "evaluate", unit="photographs") as advance, torch.inference_mode():
        for start in range(0, count, batch_size):
            indices = range(start, min(start + batch_size, count))
            stored = torch.from_numpy(test[indices]).to(device)
            photographs = measure(decode_lab(stored), networks)
            truth.add_truth(photographs)
            for name, candidate in candidates.items():
                figures[name].add(photographs, stored[:, :1], candidate(stored[:, :1], indices), networks)
            advance(len(indices))
    return truth, figures


def compare(
    test: Shards,
    truth: MetricAccumulator,
    accumulated: Mapping[str, MetricAccumulator],
    networks: FeatureNetworks,
    config: EvaluateConfig,
) -> dict[str, Any]:
    """Returns the figures over all photographs as `result.summary` does, and those of each slice under `slices`.

    Args:
        test: the test split.
        truth: of its first photographs.
        accumulated: `challenger`, the baselines, perhaps `champion`, of the same photographs.
        networks: those of the accumulation.
        config: seed and confidence of the intervals.
    """
    real = truth.per_image()
    sets = {name: each.per_image() for name, each in accumulated.items()}
    frechet = {name: frechet_distances(each, real, networks.spaces) for name, each in sets.items()}
    slices = find_slices(test.paths[: len(real)], test.labels[: len(real)])
    return summary(sets, real, config, frechet) | {"slices": sliced(slices, sets, real, config)}
