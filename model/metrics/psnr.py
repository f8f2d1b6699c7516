"""psnr: peak signal-to-noise ratio of 8-bit RGB."""

import torch
from torch import Tensor

CEILING = 100.0
"""Upper limit for a photograph in dB, so that the infinite ratio of an exact copy does not dominate the mean."""


def psnr(predicted: Tensor, target: Tensor) -> Tensor:
    """Computes 10 log10(255^2 / mean squared error) of each photograph over all pixels and three channels.

    Args:
        predicted: (B, 3, H, W) uint8 sRGB.
        target: the same shape.

    Returns:
        (B,) float32 in dB, at most `CEILING`.
    """
    error = (predicted.float() - target.float()).square().mean(dim=(1, 2, 3))
    return (10 * torch.log10(255**2 / error)).clamp(max=CEILING)
