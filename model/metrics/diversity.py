"""diversity: how far apart several colorings of one photograph are, in a and b, or by a perceptual distance."""

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor


def diversity(samples: Tensor) -> Tensor:
    """Mean |difference| of a and b over all pairs of colorings of each photograph.

    Args:
        samples: (S, B, 2, H, W), a and b in CIELAB units; S colorings of each of B photographs.

    Returns:
        (B,), CIELAB units; 0 where S is 1, as for a model without noise.
    """
    return pairwise(tuple(samples), lambda first, second: (first - second).abs().mean(dim=(1, 2, 3)))


def pairwise(samples: Sequence[Tensor], distance: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Mean distance over all pairs of colorings of each photograph, as Zhu et al. 2017 (BicycleGAN) take LPIPS.

    Args:
        samples: at least one; (B, ...) each.
        distance: of two such tensors, (B,).

    Returns:
        (B,); 0 where there is but one coloring.
    """
    pairs = [distance(first, second) for first, second in combinations(samples, 2)]
    return torch.stack(pairs).mean(dim=0) if pairs else torch.zeros(len(samples[0]), device=samples[0].device)
