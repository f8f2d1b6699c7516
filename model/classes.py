"""Color as a class (Zhang, Isola and Efros 2016, "Colorful Image Colorization"): an auxiliary head for training.

The plane of a and b is cut into squares of 10 CIELAB units. The head names each pixel's from the generator's last
features; its cross-entropy is weighted so that rare colors count as much as frequent ones. At use it is not there.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.color import AB_SCALE, decode_lab
from model.networks import Generator
from model.shards import Shards

_STEP = 10.0  # CIELAB units: the side of a class
_SIDE = 22  # classes along a and along b: -110..110
_UNIFORM = 0.5  # share of the uniform distribution in the smoothed prior (Zhang 2016, eq. 4)
_AT_ONCE = 64  # photographs


class ColorClassifier(nn.Module):
    """A generator with the head beside its own last layer."""

    weights: Tensor

    def __init__(self, generator: Generator, prior: Tensor) -> None:
        """
        Args:
            generator: trained in place.
            prior: (classes,), the training pixels in each class.
        """
        super().__init__()
        self.generator = generator
        self.head = nn.Conv2d(generator.width, _SIDE * _SIDE, 1)
        p = prior / prior.sum()
        weights = 1 / ((1 - _UNIFORM) * p + _UNIFORM / len(p))
        self.register_buffer("weights", weights / (p * weights).sum(), persistent=False)  # 1 on average over pixels

    def forward(self, L: Tensor, z: Tensor | None, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """ab (B, 2, H, W) and the classes' logits (B, classes, H / 4, W / 4)."""
        features = self.generator.features(L, z, y)
        return self.generator.to_ab(features), self.head(F.avg_pool2d(features, 2))

    def loss(self, logits: Tensor, ab: Tensor) -> Tensor:
        """Cross-entropy, weighted by the true class. ab: (B, 2, H, W) in -1..1, the photographs'."""
        return F.cross_entropy(logits, classes(F.avg_pool2d(ab, 4)), self.weights)


def classes(ab: Tensor) -> Tensor:
    """(B, 2, h, w) in -1..1 -> (B, h, w) int64."""
    a, b = ((ab * AB_SCALE + _SIDE * _STEP / 2) / _STEP).long().clamp(0, _SIDE - 1).unbind(1)
    return a * _SIDE + b


def class_counts(shards: Shards) -> Tensor:
    """(classes,) float32: how many pixels of the photographs are in each class."""
    counts = torch.zeros(_SIDE * _SIDE)
    for start in range(0, len(shards), _AT_ONCE):
        ab = decode_lab(torch.from_numpy(shards[start : start + _AT_ONCE]))[:, 1:] / AB_SCALE
        counts += torch.bincount(classes(F.avg_pool2d(ab, 4)).flatten(), minlength=len(counts))
    return counts
