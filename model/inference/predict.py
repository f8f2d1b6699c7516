"""Prediction of a and b for pictures of any size, with test-time augmentation and chroma correction."""

import torch
import torch.nn.functional as F
from torch import Tensor

from model.color import AB_SCALE
from model.networks.generator import Generator

_VIEWS = ((1.0, False), (1.0, True), (1.3, False), (1.3, True))  # test-time augmentation: scale, mirrored
_REFERENCE = 20.0  # CIELAB units: a medium chroma, at which the gain equals the slope

_SEEN = 1e-3  # share of a pixel that is revealed, above rounding


@torch.inference_mode()
def predict_ab(
    generator: Generator,
    L: Tensor,
    z: Tensor | None,
    y: Tensor | None = None,
    slope: float | None = None,
    hints: Tensor | None = None,
) -> Tensor:
    """Predicts a and b at the scale of L.

    For the network, each side is scaled to the nearest multiple of 2 ** levels, and a and b are scaled back. Padding
    would waste most of the field: of 512 pixels, a picture of 286 fills 31 per cent. On photographs of 72 pixels after
    training on crops of 64, padding lost a third of the gain over gray in l1_ab; scaling lost nothing.

    With test-time augmentation, a and b are the mean over four views of the photograph with the same z: at its scale
    and at 1.3 times its scale, as it is and mirrored. Colors that depend on the view move towards gray.

    Args:
        generator: in eval mode, on the device of L.
        L: (B, 1, H, W) in -1..1, of any height and width.
        z: (B, noise_size) on the same device, or None for a generator without a noise vector.
        y: (B,) int64 labels on the same device, as in `Generator.forward`; None for unknown ones.
        slope: of the chroma correction; None for the generator's own.
        hints: (B, 3, H, W) float32 on the same device, as in `Generator.forward`; None for none. Their colors are
            those of the result: the chroma correction is undone before the network sees them.

    Returns:
        (B, 2, H, W) float32; multiply by `model.color.AB_SCALE` for CIELAB units. Values are in -1..1, or beyond if the
        slope is positive.
    """
    views = _VIEWS if generator.config.test_time_augmentation else _VIEWS[:1]
    slope = generator.chroma_slope if slope is None else slope
    if hints is not None:
        hints = torch.cat((without_chroma(hints[:, :2], slope), hints[:, 2:]), dim=1)
    predicted = [_predict_view(generator, L.float(), z, y, scale, mirrored, hints) for scale, mirrored in views]
    return with_chroma(torch.stack(predicted).mean(dim=0), slope)


def _predict_view(
    generator: Generator,
    L: Tensor,
    z: Tensor | None,
    y: Tensor | None,
    scale: float,
    mirrored: bool,
    hints: Tensor | None,
) -> Tensor:
    sides = [_nearest(round(side * scale), 2**generator.config.levels) for side in L.shape[-2:]]
    small = _scale(L.flip(-1) if mirrored else L, sides).contiguous(memory_format=torch.channels_last)
    if hints is not None:
        hints = _scaled_hints(hints.flip(-1) if mirrored else hints, sides)
    ab = _scale(generator(small, z, y, hints).float(), list(L.shape[-2:]))
    return ab.flip(-1) if mirrored else ab


def with_chroma(ab: Tensor, slope: float) -> Tensor:
    """Changes chroma c to c (1 + slope * c / 20) and keeps the hue; `model.training.calibration` finds the slope.

    Args:
        ab: (B, 2, H, W) float32 in -1..1.
        slope: 0 changes nothing.

    Returns:
        (B, 2, H, W) float32, which may exceed -1..1.
    """
    if not slope:
        return ab
    chroma = AB_SCALE * ab.square().sum(dim=-3, keepdim=True).sqrt()
    return ab * (1 + slope * chroma / _REFERENCE)


def without_chroma(ab: Tensor, slope: float) -> Tensor:
    """Undoes `with_chroma` of the same slope, 0 or more; shapes are the same."""
    if not slope:
        return ab
    chroma = AB_SCALE * ab.square().sum(dim=-3, keepdim=True).sqrt()
    return ab * (2 / (1 + (1 + 4 * slope * chroma / _REFERENCE).sqrt()))


def _scaled_hints(hints: Tensor, sides: list[int]) -> Tensor:
    """Scales hints: a pixel that covers some revealed ones gets the mean of their colors."""
    mask = hints[:, 2:]
    scaled = _scale(torch.cat((hints[:, :2] * mask, mask), dim=1), sides)
    ab, share = scaled[:, :2], scaled[:, 2:]
    seen = (share > _SEEN).float()
    return torch.cat((seen * ab / share.clamp(min=_SEEN), seen), dim=1)


def _nearest(side: int, multiple: int) -> int:
    return max(1, (2 * side + multiple - 1) // (2 * multiple)) * multiple  # rounds half down: cheaper


def _scale(image: Tensor, sides: list[int]) -> Tensor:
    if list(image.shape[-2:]) == sides:
        return image
    return F.interpolate(image, sides, mode="bilinear", antialias=True)
