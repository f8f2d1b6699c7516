"""diversity: how far apart several colorings of one photograph are."""

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
    pairs = [(first - second).abs().mean(dim=(1, 2, 3)) for first, second in combinations(samples, 2)]
    return torch.stack(pairs).mean(dim=0) if pairs else samples.new_zeros(samples.shape[1])
