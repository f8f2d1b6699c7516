"""Confidence intervals of the difference between two models: a paired bootstrap over the test photographs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RESAMPLES = 2000
METHOD = (
    f"percentiles over {RESAMPLES} resamplings of the test photographs with replacement, of the difference over so "
    "many photographs; a kernel distance leaves out pairs of a photograph with itself"
)
_ROWS = 512  # of a kernel matrix at once


@dataclass(frozen=True)
class PerImage:
    """Holds the share of each test photograph, or of each coloring, in the figures of all."""

    columns: Mapping[str, Array]
    """Metric -> (N,), whose mean is the figure."""
    histograms: Array
    """(N, 2, BINS) pixel counts by a and by b."""
    features: Mapping[str, Array]
    """Name of a kernel distance -> (N, D)."""


def differences(
    challenger: PerImage, champion: PerImage, truth: PerImage, seed: int, confidence: float
) -> dict[str, tuple[float, float]]:
    """Returns the central interval of challenger minus champion by metric, as (low, high).

    It is the interval of the difference that as many other photographs would show. Frechet distances are left out: each
    resampling would need the root of a large matrix, and repeated photographs make its covariance singular. So is a
    metric with a value that is not finite.

    Args:
        challenger: of its colorings.
        champion: of its colorings, of the same photographs in the same order.
        truth: of the photographs.
        seed: of the resampling.
        confidence: share of the resamplings within the interval.
    """
    count = len(truth.histograms)
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(float)
    found = {name: weights @ (column - champion.columns[name]) / count for name, column in challenger.columns.items()}
    ours, theirs, real = (weights @ each.columns["colorfulness"] / count for each in (challenger, champion, truth))
    found["delta_colorfulness"] = np.abs(ours - real) - np.abs(theirs - real)
    mine, its = (_overlap(weights, each.histograms, truth.histograms) for each in (challenger, champion))
    found["ab_intersection"] = mine - its
    for name in challenger.features if count > 1 else ():
        found[name] = _kernel(weights, *(each.features[name] for each in (challenger, champion, truth)))
    ends = {name: np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2]) for name, values in found.items()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items() if np.isfinite([low, high]).all()}


def _overlap(weights: Array, colored: Array, real: Array) -> Array:
    """Returns `ab_intersection` of each resampling: (R, N), (N, 2, BINS) twice -> (R,)."""
    p, q = (_distributions(weights, histograms) for histograms in (colored, real))
    overlap: Array = np.minimum(p, q).sum(axis=2).mean(axis=1)
    return overlap


def _distributions(weights: Array, histograms: Array) -> Array:
    count, channels, bins = histograms.shape
    counts: Array = (weights @ histograms.reshape(count, channels * bins)).reshape(-1, channels, bins)
    shares: Array = counts / counts.sum(axis=2, keepdims=True)
    return shares


def _kernel(weights: Array, ours: Array, theirs: Array, real: Array) -> Array:
    """Returns the difference of two kernel distances to the same photographs in each resampling.

    The part of the photographs alone cancels. (R, N) and (N, D) three times -> (R,)
    """
    count, dimensions = real.shape
    off, own = np.zeros(len(weights)), np.empty(count)
    pairs = count**2 - np.square(weights).sum(axis=1)  # of a resampling, without those of a photograph with itself

    def kernel(x: Array, y: Array) -> Array:
        value: Array = (x @ y.T / dimensions + 1) ** 3
        return value

    for start in range(0, count, _ROWS):
        rows = slice(start, start + _ROWS)
        diagonal = np.arange(start, min(start + _ROWS, count))
        within = kernel(ours[rows], ours) - kernel(theirs[rows], theirs)
        across = kernel(real[rows], ours) - kernel(real[rows], theirs)
        own[diagonal] = across[diagonal - start, diagonal]
        block = within - 2 * (count - 1) / count * across
        block[diagonal - start, diagonal] = 0
        off += (weights[:, rows] @ block * weights).sum(axis=1)
    difference: Array = off / np.maximum(pairs, 1) - 2 / count * (weights @ own) / count
    return difference
