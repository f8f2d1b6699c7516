"""psnr: peak signal-to-noise ratio of 8-bit RGB."""

import torch
from torch import Tensor

CEILING = 100.0
"""dB, the most that a photograph counts: an exact copy, whose ratio is infinite, must not swamp the mean."""


def psnr(predicted: Tensor, target: Tensor) -> Tensor:
    """10 log10(255^2 / mean squared error) of each photograph, over all pixels and the three channels.

    Args:
        predicted: (B, 3, H, W) uint8 sRGB.
        target: the same shape.

    Returns:
        (B,) float32, dB, at most `CEILING`.
    """
    error = (predicted.float() - target.float()).square().mean(dim=(1, 2, 3))
    return (10 * torch.log10(255**2 / error)).clamp(max=CEILING)
