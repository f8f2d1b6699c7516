"""The classification loss of Zhang et al. 2016 ("Colorful Image Colorization") and the balance of its classes."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.color import AB_SCALE
from model.config import ObjectiveConfig, TrainConfig
from model.data.shards import Shards
from model.networks.classes import centers
from model.training.distributed import ProcessGroup

_NEAREST, _SIGMA = 5, 5.0  # bins that share a color, and the kernel that divides it, in CIELAB units
_LEVELS = 256  # of a stored a or b
_PHOTOGRAPHS = 2048  # at most; shards are in the order of SHA-256, so the first ones are a random sample
_AT_ONCE = 64


class ClassesLoss:
    """Computes the cross-entropy of the bins' logits against the true colors, each shared by its five nearest bins.

    A look-up table holds the shares of every color at whole CIELAB units. Colors are rounded to these: by at most half
    a unit, where the kernel's width is five.
    """

    def __init__(self, counts: Tensor | None, uniform: float, device: torch.device) -> None:
        """Makes the table.

        Args:
            counts: what `ab_counts` returned; None if no class has more weight than another.
            uniform: lambda in `class_weights`.
            device: of the logits.
        """
        bins, shares = soft_encoding()
        weights = torch.ones(len(centers())) if counts is None else class_weights(counts, uniform)
        nearest = weights[bins[:, :1]]  # the nearest bin's weight is the color's
        self._bins, self._shares = bins.to(device), (nearest * shares).to(device)

    def __call__(self, logits: Tensor, ab: Tensor) -> Tensor:
        """Computes the loss, a scalar: the mean over pixels.

        Args:
            logits: (B, Q, H / 2, W / 2) float32.
            ab: the true (B, 2, H, W) float32 in -1..1.
        """
        stored = (F.avg_pool2d(ab, 2) * AB_SCALE + _LEVELS // 2).round().clamp(0, _LEVELS - 1).long()
        color = _LEVELS * stored[:, 0] + stored[:, 1]
        given = logits.permute(0, 2, 3, 1)
        bins, shares = self._bins[color], self._shares[color]
        return (shares * (given.logsumexp(dim=-1, keepdim=True) - given.gather(-1, bins))).sum(dim=-1).mean()


def soft_encoding() -> tuple[Tensor, Tensor]:
    """Computes how each stored color is shared by the nearest bins, by a Gaussian of its distance (Zhang et al. 2016,
    section 2.1).

    Returns:
        The bins (65536, 5) int64, nearest first, and their shares (65536, 5) float32, which sum to 1. Row 256 a + b
        belongs to the stored a and b.
    """
    level = torch.arange(_LEVELS) - _LEVELS / 2
    colors = torch.cartesian_prod(level, level)
    distances, bins = torch.cdist(colors, centers()).topk(_NEAREST, largest=False)
    return bins, F.softmax(-distances.square() / (2 * _SIGMA**2), dim=1)


def classes_loss(config: ObjectiveConfig, counts: Tensor | None, device: torch.device) -> ClassesLoss | None:
    """Returns the classes' loss, as `ClassesLoss` describes; None where it has no weight."""
    return ClassesLoss(counts, config.classes_uniform, device) if config.classes_weight else None


def balancing_colors(config: TrainConfig, shards: Shards, dist: ProcessGroup) -> Tensor | None:
    """Returns `ab_counts` in every process; None where the configuration does not balance classes."""
    if not config.objective.classes_weight or config.objective.classes_uniform == 1:
        return None
    return dist.broadcast(ab_counts(shards) if dist.is_main else torch.zeros(_LEVELS**2, dtype=torch.int64))


def ab_counts(shards: Shards) -> Tensor:
    """Counts the stored colors of at most 2,048 photographs: (65536,) int64, rows as in `soft_encoding`."""
    counts = torch.zeros(_LEVELS**2, dtype=torch.int64)
    last = min(len(shards), _PHOTOGRAPHS)
    for start in range(0, last, _AT_ONCE):
        stored = shards[start : min(start + _AT_ONCE, last)]
        colors = _LEVELS * stored[:, 1].astype(np.int64) + stored[:, 2]
        counts += torch.from_numpy(np.bincount(colors.ravel(), minlength=_LEVELS**2))
    return counts


def class_weights(counts: Tensor, uniform: float) -> Tensor:
    """Computes the weight of each class, so that rare colors count more (Zhang et al. 2016, eq. 4).

    w = 1 / ((1 - lambda) p + lambda / Q), with p the frequencies of the Q bins in photographs, smooth by the soft
    encoding, and lambda the share of a uniform distribution. The mean weight of the photographs' colors is 1.

    Args:
        counts: (65536,) of stored colors, at least one.
        uniform: lambda, above 0; at 1 all weights are 1.

    Returns:
        (Q,) float32.
    """
    bins, shares = soft_encoding()
    sums = torch.zeros(len(centers()), dtype=torch.float64)
    sums.index_add_(0, bins.flatten(), (counts[:, None] * shares.double()).flatten())
    frequencies = sums / sums.sum()
    weights = 1 / ((1 - uniform) * frequencies + uniform / len(frequencies))
    return (weights / (frequencies * weights).sum()).float()
