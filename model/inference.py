"""The generator at use: a and b for pictures whose sides need not be multiples of what the network needs."""

import torch
import torch.nn.functional as F
from torch import Tensor

from model.color import AB_SCALE
from model.networks import Generator

_REFERENCE = 20.0  # CIELAB units: a chroma of middling strength, where the slope is the gain


@torch.inference_mode()
def predict_ab(generator: Generator, L: Tensor, z: Tensor | None, y: Tensor | None = None) -> Tensor:
    """a and b at the scale of L, in float32.

    Each side that is no multiple of 2 ** levels is scaled to the nearest one for the network, and a and b are scaled
    back. Padding would fill most of the field with what is no picture: 286 pixels padded to 512 leave it 31 per cent.
    Tried on photographs of 72 pixels after training on crops of 64, padding lost a third of the gain over gray in
    l1_ab; scaling lost nothing.

    Args:
        generator: in eval mode, on the device of L.
        L: (B, 1, H, W) in -1..1, of any height and width.
        z: (B, noise_size) on the same device, or None for a generator without a noise vector.
        y: (B,) int64 on the same device, the labels (see `Generator.forward`); None for unknown ones.

    Returns:
        (B, 2, H, W) float32; multiply by `model.color.AB_SCALE` for CIELAB units. In -1..1, or beyond where the
        generator's `chroma_slope` says so.
    """
    sides = [_nearest(side, 2**generator.config.levels) for side in L.shape[-2:]]
    ab: Tensor = generator(_scale(L.float(), sides).contiguous(memory_format=torch.channels_last), z, y)
    return with_chroma(_scale(ab.float(), list(L.shape[-2:])), generator.chroma_slope)


def with_chroma(ab: Tensor, slope: float) -> Tensor:
    """Chroma c becomes c (1 + slope * c / 20), hue stays: (B, 2, H, W) float32 in -1..1 -> the same, beyond 1 perhaps.

    What the slope is for: `model.calibration`.
    """
    if not slope:
        return ab
    chroma = AB_SCALE * ab.square().sum(dim=-3, keepdim=True).sqrt()
    return ab * (1 + slope * chroma / _REFERENCE)


def _nearest(side: int, multiple: int) -> int:
    return max(1, (2 * side + multiple - 1) // (2 * multiple)) * multiple  # half-way goes down: cheaper


def _scale(image: Tensor, sides: list[int]) -> Tensor:
    if list(image.shape[-2:]) == sides:
        return image
    return F.interpolate(image, sides, mode="bilinear", antialias=True)
