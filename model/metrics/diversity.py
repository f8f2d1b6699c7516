"""diversity: mean distance between several colorings of one photograph."""

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor


def diversity(samples: Tensor) -> Tensor:
    """Computes the mean |difference| of a and b over all pairs of colorings of each photograph.

    Args:
        samples: (S, B, 2, H, W), a and b in CIELAB units: S colorings of each of B photographs.

    Returns:
        (B,) in CIELAB units; 0 if S is 1.
    """
    return pairwise(tuple(samples), lambda first, second: (first - second).abs().mean(dim=(1, 2, 3)))


def pairwise(samples: Sequence[Tensor], distance: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Computes the mean distance over all pairs of colorings of each photograph, as Zhu et al. 2017 (BicycleGAN) do.

    Args:
        samples: at least one tensor of shape (B, ...).
        distance: maps two such tensors to (B,).

    Returns:
        (B,); 0 if there is only one coloring.
    """
    pairs = [distance(first, second) for first, second in combinations(samples, 2)]
    return torch.stack(pairs).mean(dim=0) if pairs else torch.zeros(len(samples[0]), device=samples[0].device)
