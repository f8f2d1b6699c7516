"""The generator at use: a and b for pictures whose sides need not be multiples of what the network needs."""

import torch
import torch.nn.functional as F
from torch import Tensor

from model.color import AB_SCALE
from model.networks.generator import Generator

_LOOKS = ((1.0, False), (1.0, True), (1.3, False), (1.3, True))
"""Of test-time augmentation: scale of the photograph, whether it is mirrored."""
_REFERENCE = 20.0  # CIELAB units: a chroma of middling strength, where the slope is the gain


@torch.inference_mode()
def predict_ab(generator: Generator, L: Tensor, z: Tensor | None, y: Tensor | None = None) -> Tensor:
    """a and b at the scale of L, in float32.

    Each side that is no multiple of 2 ** levels is scaled to the nearest one for the network, and a and b are scaled
    back. Padding would fill most of the field with what is no picture: 286 pixels padded to 512 leave it 31 per cent.
    Tried on photographs of 72 pixels after training on crops of 64, padding lost a third of the gain over gray in
    l1_ab; scaling lost nothing.

    With test-time augmentation, a and b are the mean of four looks at the photograph, the same z for all: at its scale
    and at 1.3 times it, as it is and mirrored. What is certain stays; what depends on the look moves towards gray.

    Args:
        generator: in eval mode, on the device of L.
        L: (B, 1, H, W) in -1..1, of any height and width.
        z: (B, noise_size) on the same device, or None for a generator without a noise vector.
        y: (B,) int64 on the same device, the labels (see `Generator.forward`); None for unknown ones.

    Returns:
        (B, 2, H, W) float32; multiply by `model.color.AB_SCALE` for CIELAB units. In -1..1, or beyond where the
        generator's `chroma_slope` says so.
    """
    looks = _LOOKS if generator.config.test_time_augmentation else _LOOKS[:1]
    seen = [_look(generator, L.float(), z, y, scale, mirrored) for scale, mirrored in looks]
    return with_chroma(torch.stack(seen).mean(dim=0), generator.chroma_slope)


def _look(generator: Generator, L: Tensor, z: Tensor | None, y: Tensor | None, scale: float, mirrored: bool) -> Tensor:
    sides = [_nearest(round(side * scale), 2**generator.config.levels) for side in L.shape[-2:]]
    small = _scale(L.flip(-1) if mirrored else L, sides).contiguous(memory_format=torch.channels_last)
    ab = _scale(generator(small, z, y).float(), list(L.shape[-2:]))
    return ab.flip(-1) if mirrored else ab


def with_chroma(ab: Tensor, slope: float) -> Tensor:
    """Chroma c becomes c (1 + slope * c / 20), hue stays: (B, 2, H, W) float32 in -1..1 -> the same, beyond 1 perhaps.

    What the slope is for: `model.training.calibration`.
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
