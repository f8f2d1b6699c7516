"""Confidence intervals of figures and of their differences: a paired bootstrap over the test photographs."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

RESAMPLES = 2000
METHOD = (
    f"percentiles over {RESAMPLES} resamplings of the test photographs with replacement, the same for all models; a "
    "kernel distance leaves out pairs of a photograph with itself"
)


def resamplings(count: int, seed: int) -> Tensor:
    """Draws how often each photograph counts: (RESAMPLES, count) float64, each row with the sum `count`."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(count, (RESAMPLES, count), generator=generator)
    once = torch.ones(1, 1, dtype=torch.float64).expand(RESAMPLES, count)
    return torch.zeros(RESAMPLES, count, dtype=torch.float64).scatter_add_(1, drawn, once)


def weightings(count: int, seed: int) -> Tensor:
    """Returns each photograph once in the first row, then the resamplings: (1 + RESAMPLES, count) float64.

    One computation of `figures` then gives a figure and its resamplings: the kernels, most of its work, are the same.
    """
    return torch.cat((torch.ones(1, count, dtype=torch.float64), resamplings(count, seed)))


def apart(found: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Returns the figures (..., 1) of all photographs and those of the resamplings, of figures under `weightings`."""
    return {name: each[..., :1] for name, each in found.items()}, {name: each[..., 1:] for name, each in found.items()}


def intervals(values: Mapping[str, Tensor], confidence: float) -> dict[str, tuple[float, float]]:
    """Returns the central interval of each figure as (low, high); none where a figure is not finite.

    Args:
        values: metric -> (R,), the figure of each resampling, or the difference of two models' figures.
        confidence: share of the resamplings within the interval.
    """
    ends = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64)
    found = {}
    for name, each in values.items():
        finite = each[each.isfinite()]  # a resampling of one photograph alone has no kernel distance
        if len(finite) > len(each) / 2:
            low, high = finite.quantile(ends).tolist()
            found[name] = (low, high)
    return found


def differences(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns ours minus theirs in each resampling, by metric; of the photographs' own figures there is none."""
    return {
        name: values - theirs[name] for name, values in ours.items() if name in theirs and name != "colorfulness_real"
    }


def with_ends(
    gaps: Mapping[str, float], ends: Mapping[str, tuple[float, float]], confidence: float
) -> dict[str, dict[str, float]]:
    """Returns each difference with its interval as value, low, high, confidence; none without one, or not finite.

    Args:
        gaps: metric -> difference.
        ends: of `intervals`.
        confidence: of `ends`.
    """
    return {
        name: {"value": gap, "low": ends[name][0], "high": ends[name][1], "confidence": confidence}
        for name, gap in gaps.items()
        if name in ends and math.isfinite(gap)
    }
