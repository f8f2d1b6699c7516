"""The generator at use: a and b for pictures whose sides need not be multiples of what the network needs."""

import torch
import torch.nn.functional as F
from torch import Tensor

from model.networks import Generator


@torch.inference_mode()
def predict_ab(generator: Generator, L: Tensor, z: Tensor | None) -> Tensor:
    """a and b at the scale of L, in float32.

    The edge is repeated on all four sides up to the next multiple of 2 ** levels, and what was added is cut off again.

    Args:
        generator: in eval mode, on the device of L.
        L: (B, 1, H, W) in -1..1, of any height and width.
        z: (B, noise_size) on the same device, or None for a generator without a noise vector.

    Returns:
        (B, 2, H, W) float32 in -1..1; multiply by `model.color.AB_SCALE` for CIELAB units.
    """
    multiple = 2**generator.config.levels
    height, width = L.shape[-2:]
    down, across = -height % multiple, -width % multiple
    top, left = down // 2, across // 2
    padded = F.pad(L.float(), (left, across - left, top, down - top), mode="replicate")
    ab = generator(padded.contiguous(memory_format=torch.channels_last), z)
    return ab[..., top : top + height, left : left + width].float()
