"""The figures of a set of colorings, computed from each photograph's share in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.metrics.ab_intersection import ab_intersection
from model.metrics.colorfulness_correlation import correlation
from model.metrics.kid import kernel_distances


@dataclass(frozen=True)
class PerImage:
    """Holds the share of each photograph, or of each coloring, in the figures of a set."""

    columns: Mapping[str, Tensor]
    """Metric -> (N,) float64, whose mean is the figure."""
    histograms: Tensor
    """(N, 2, BINS) float64 pixel counts by a and by b."""
    features: Mapping[str, Tensor]
    """Name of a kernel distance -> (N, D)."""

    def __len__(self) -> int:
        return len(self.histograms)

    def take(self, rows: Sequence[int]) -> "PerImage":
        """Returns the share of some photographs only."""
        chosen = torch.tensor(rows, dtype=torch.int64)
        columns, features = (
            {name: values[chosen] for name, values in each.items()} for each in (self.columns, self.features)
        )
        return PerImage(columns, self.histograms[chosen], features)


def figures(colorings: PerImage, truth: PerImage, weights: Tensor) -> dict[str, Tensor]:
    """Returns every figure of several weightings of a set; none of kernel distances for a single photograph.

    Args:
        colorings: of the photographs, in the same order.
        truth: of the photographs themselves.
        weights: (R, N) float64, how often each photograph counts; the sum of each row is above 0.

    Returns:
        Metric -> (R,) float64.
    """
    total = weights.sum(dim=1)
    found = {name: weights @ column / total for name, column in colorings.columns.items()}
    colorful, real = colorings.columns["colorfulness"], truth.columns["colorfulness"]
    found["colorfulness_real"] = weights @ real / total
    found["delta_colorfulness"] = (found["colorfulness"] - found["colorfulness_real"]).abs()
    found["colorfulness_correlation"] = correlation(colorful, real, weights)
    both = (torch.einsum("rn,ncb->rcb", weights, each.histograms) for each in (colorings, truth))
    found["ab_intersection"] = ab_intersection(*both).double()
    for name, features in colorings.features.items() if len(truth) > 1 else ():
        found[name] = kernel_distances(truth.features[name], features, weights)
    return found
