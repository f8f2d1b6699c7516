"""ab_intersection: overlap of the color distributions of colorings and photographs."""

import torch
from torch import Tensor

BINS = 256
"""One CIELAB unit each, centered on -128..127: the levels of the 8-bit storage."""


def ab_histograms(ab: Tensor) -> Tensor:
    """Counts the pixels of each photograph by a and by b; sum the counts over a set.

    Args:
        ab: (B, 2, H, W), a and b in CIELAB units, finite.

    Returns:
        (B, 2, BINS) int64.
    """
    level = (ab.flatten(2) + BINS / 2).round().clamp(0, BINS - 1).long()
    counts = torch.zeros(*level.shape[:2], BINS, dtype=torch.int64, device=ab.device)
    return counts.scatter_add_(2, level, torch.ones_like(level))


def ab_intersection(first: Tensor, second: Tensor) -> Tensor:
    """Computes the overlap of normalized histograms, the sum of min(p, q) over bins, averaged over a and b.

    The test of color realism in Isola et al. 2017 (pix2pix), section 4.2 and figure 7.

    Args:
        first: (..., 2, BINS) counts.
        second: the same shape.

    Returns:
        (...) float32 in 0..1; 1 for equal distributions.
    """
    p, q = (counts.double() / counts.sum(dim=-1, keepdim=True) for counts in (first, second))
    return torch.minimum(p, q).sum(dim=-1).mean(dim=-1).float()
