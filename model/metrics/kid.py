"""kid: the kernel distance between photographs and their colorings; KID for Inception-v3's features."""

import torch
from torch import Tensor

_ROWS = 512  # of the kernel matrices at once


def kernel_distance(real: Tensor, generated: Tensor) -> float:
    """Computes the unbiased squared MMD with the kernel (x . y / D + 1)^3 (Binkowski et al. 2018, section 4).

    Args:
        real: (N, D) features of photographs, N at least 2.
        generated: (N, D) features of their colorings, in the same order.

    Returns:
        0 for copies; around 0, positive or negative, for other draws of one distribution; larger is worse.
    """
    return float(kernel_distances(real, generated, torch.ones(1, len(real))))


def kernel_distances(real: Tensor, generated: Tensor, weights: Tensor) -> Tensor:
    """Computes the kernel distance of several weightings of the same photographs.

    A coloring shares its picture with its photograph, so such a pair is nearer than two independent draws. The mean of
    each kernel therefore leaves out a photograph's pairs with itself and with its own coloring (the one-sample
    U-statistic of Gretton et al. 2012, lemma 6). With those pairs, a copy would score below zero.

    Args:
        real: (N, D) features of photographs.
        generated: (N, D) features of their colorings, in the same order.
        weights: (R, N), how often each photograph counts.

    Returns:
        (R,) float64; NaN where a weighting has no two photographs.
    """
    x, y, weights = (each.double().cpu() for each in (real, generated, weights))
    total = torch.zeros(len(weights), dtype=torch.float64)
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        h = _kernel(x[rows], x) + _kernel(y[rows], y) - _kernel(x[rows], y) - _kernel(y[rows], x)
        h.diagonal(start).zero_()
        total += (weights[:, rows] @ h * weights).sum(dim=1)
    return total / (weights.sum(dim=1).square() - weights.square().sum(dim=1))


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3
