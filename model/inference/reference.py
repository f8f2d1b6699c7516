"""Colors of a reference photograph for another one of the same roll: matching parts become hints.

Both photographs pass the generator's own encoder. Two parts that are each other's best match show the same thing, so
the reference's color becomes a hint there. The matches are few and sure, and the generator spreads their colors.
benchmarks/like.py measures it.
"""

from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from model.color import AB_SCALE
from model.inference.hints import SIDE
from model.networks.generator import Generator

_SIMILAR = 0.5  # correlation of features; at 0.3, an unrelated reference costs three times as much
_MOST = 30  # matches; more change nothing


class Reference(NamedTuple):
    """Holds what a colored photograph shows, part by part."""

    features: Tensor
    """(C, n) of its n parts."""
    ab: Tensor
    """(2, n) in -1..1, the mean color of each part."""

    @classmethod
    @torch.inference_mode()
    def read(cls, generator: Generator, lab: Tensor) -> Self:
        """Reads a photograph.

        Args:
            generator: in eval mode.
            lab: (3, H, W) float32 CIELAB at the network's scale, on the generator's device.
        """
        features = _features(generator, lab[:1])
        rows, columns = features.shape[-2:]
        ab = F.adaptive_avg_pool2d(lab[1:] / AB_SCALE, (rows, columns))
        return cls(features.flatten(1), ab.flatten(1))

    @torch.inference_mode()
    def hints(self, generator: Generator, L: Tensor) -> Tensor:
        """Returns hints for a photograph: the colors of the parts that it has in common with the reference.

        Args:
            generator: the one of `read`.
            L: (1, h, w) in 0..100 at the network's scale, on the generator's device.

        Returns:
            (3, h, w), as in `Generator.forward`; the mask is empty if nothing matches.
        """
        found = _features(generator, L)
        rows, columns = found.shape[-2:]
        both = torch.cat((found.flatten(1), self.features), dim=1)
        both = (both - both.mean(dim=1, keepdim=True)) / both.std(dim=1, keepdim=True).clamp(min=1e-6)
        both = F.normalize(both, dim=0)
        similar = both[:, : rows * columns].T @ both[:, rows * columns :]
        best, match = similar.max(dim=1)
        mutual = similar.argmax(dim=0)[match] == torch.arange(len(match), device=L.device)
        scores, parts = torch.where(mutual & (best > _SIMILAR), best, 0).topk(min(_MOST, len(best)))
        height, width = L.shape[-2:]
        hints = L.new_zeros(3, height, width)
        for part in parts[scores > 0].tolist():
            top = int((part // columns + 0.5) * height / rows) - SIDE // 2
            left = int((part % columns + 0.5) * width / columns) - SIDE // 2
            square = slice(max(0, top), top + SIDE), slice(max(0, left), left + SIDE)
            hints[:2, *square] = self.ab[:, match[part], None, None]
            hints[2, *square] = 1
        return hints


def _features(generator: Generator, L: Tensor) -> Tensor:
    """Returns (C, h, w) of the encoder's last level but one: a part has 16 pixels of a five-level encoder."""
    multiple = 2**generator.config.levels
    sides = [max(1, round(side / multiple)) * multiple for side in L.shape[-2:]]
    small = F.interpolate(L[None] / 50 - 1, sides, mode="bilinear", antialias=True)
    features: Tensor = generator.encoder(small)[max(0, generator.config.levels - 2)][0]
    return features.float()
