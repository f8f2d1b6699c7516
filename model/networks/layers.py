"""Layers and initialization that generator, discriminator and encoders share."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def norm(kind: str, channels: int) -> nn.Module:
    """Returns a normalization layer with learned scale and shift.

    Args:
        kind: group (8 groups), batch or instance.
        channels: a multiple of 8 for `group`.
    """
    if kind == "group":
        return nn.GroupNorm(8, channels)
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.InstanceNorm2d(channels, affine=True)


def doubling(channels_in: int, channels_out: int, upsample: str) -> nn.Module:
    """Returns a layer that doubles the side: a 4x4 `transposed` convolution, or `resize` then a 3x3 convolution."""
    if upsample == "transposed":
        return nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1)
    return _ResizeConv(channels_in, channels_out)


def initialize(module: nn.Module) -> None:
    """Draws weights from N(0, 0.02), as in pix2pix, and sets biases to zero: modulation starts near the identity."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class _ResizeConv(nn.Conv2d):
    """Doubles the side by nearest neighbor, then convolves 3x3: (B, C, H, W) -> (B, channels_out, 2 H, 2 W).

    Every output pixel is a sum of the same number of terms, so no checkerboard appears (Odena et al. 2016,
    "Deconvolution and Checkerboard Artifacts"). Both operations are computed as one transposed convolution: its 4x4
    kernel is the 3x3 kernel with every weight spread over the 2x2 pixels that share an input pixel. This takes 4/9 of
    the multiplications and never stores the enlarged input.
    """

    spread: Tensor

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3)
        spread = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        self.register_buffer("spread", spread, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel = torch.einsum("ka,lb,oiab->iokl", self.spread, self.spread, self.weight)
        return F.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)
