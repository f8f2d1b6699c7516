"""The networks' normalisation layers."""

from torch import nn


def norm(kind: str, channels: int) -> nn.Module:
    """`group` (8 groups; channels are a multiple of 8), `batch` or `instance`, each with its own scale and shift."""
    if kind == "group":
        return nn.GroupNorm(8, channels)
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.InstanceNorm2d(channels, affine=True)
