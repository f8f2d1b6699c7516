"""Simulated damage of old gray photographs, applied to the stored lightness; a and b never change.

Each damage has a strength in 0..1: 0 changes nothing, 1 is the strongest that training uses. Lengths are in pixels at
the network's scale; lightness runs from 0 (black) to 1 (white). Damage applies to L as it is stored: a gray sRGB level
is within 4 per cent of it, so that noise, blur and JPEG do to L what they do to a scan.
"""

import io
import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn.functional import interpolate

from model.color import (
    LUMINANCE,
    decode_lab,
    lab_to_linear,
    lab_to_srgb,
    luminance_to_lightness,
    srgb_to_lightness,
)

Damage = Callable[[Tensor, float, torch.Generator], Tensor]
"""(3, H, W) uint8 stored LAB, a strength in 0..1, a CPU generator -> (H, W) uint8, the damaged stored lightness."""

_EMULSIONS = ((0.0, 0.5, 0.5), (0.0, 0.0, 1.0))  # orthochromatic, blue-sensitive
_SEPIA = (0.34, 0.94)  # a and b of brown with chroma 1


def blur(stored: Tensor, strength: float, draws: torch.Generator) -> Tensor:
    """Blurs like a lens out of focus: Gaussian with a sigma of up to 1.5 pixels, as Pillow's three box blurs."""
    return _from_image(_to_image(stored[0]).filter(ImageFilter.GaussianBlur(1.5 * strength)))


def emulsion(stored: Tensor, strength: float, draws: torch.Generator) -> Tensor:
    """Simulates film whose response to colors differs from the eye's: red darkens, the sky turns white.

    L is computed from an exposure whose weights of red, green and blue light lie between CIE's luminance and those of
    orthochromatic plates, (G + B) / 2, or of blue-sensitive plates, B, with equal probability (Luo et al. 2021,
    Time-Travel Rephotography). Grays do not change.
    """
    target = _EMULSIONS[int(torch.randint(len(_EMULSIONS), (), generator=draws))]
    weights = torch.lerp(torch.tensor(LUMINANCE), torch.tensor(target), strength)
    light = lab_to_linear(decode_lab(stored)).clamp_(min=0)
    return _store(luminance_to_lightness(torch.tensordot(weights, light, 1)) / 100)


def film_curve(stored: Tensor, strength: float, draws: torch.Generator) -> Tensor:
    """Applies a characteristic curve of film and paper (Hurter and Driffield 1890): toe, steep middle, shoulder.

    At full strength it is a logistic curve, 1.5 times as steep in the middle, which lies at a lightness of 0.35..0.65,
    after a gamma of 0.67..1.5 for the exposure.
    """
    gamma, middle = 1.5 ** _uniform(-1, 1, draws), _uniform(0.35, 0.65, draws)
    curve = torch.sigmoid(5 * (_levels() ** gamma - middle))
    return _through(stored, (curve - curve[0]) / (curve[-1] - curve[0]), strength)


def grain(stored: Tensor, strength: float, draws: torch.Generator) -> Tensor:
    """Adds film grain: Gaussian noise with a deviation of up to 0.08 in middle grays, half the time 1..2 pixels coarse.

    The deviation is proportional to the square root of u (1 - u), where u is the share of light that a random heap of
    opaque grains lets through (Newson et al. 2017): largest in middle grays, zero in black and white. Wan et al. 2020
    restore old photographs with white noise of up to 0.2.
    """
    height, width = stored.shape[1:]
    coarseness = max(1.0, _uniform(0, 2, draws))
    noise = torch.randn(1, 1, *(math.ceil(side / coarseness) for side in (height, width)), generator=draws)
    if coarseness > 1:
        noise = interpolate(noise, (height, width), mode="bilinear")
        noise /= noise.square().mean().sqrt()
    u = stored[0].float() / 255
    return _store(u + noise[0, 0] * (u * (1 - u)).sqrt_() * (2 * 0.08 * strength))


def fade(stored: Tensor, strength: float, draws: torch.Generator) -> Tensor:
    """Fades like a bleached print on yellowed paper: black rises to 0.1..0.3, white falls to 0.75..0.95."""
    black, white = _uniform(0.1, 0.3, draws), _uniform(0.75, 0.95, draws)
    return _through(stored, black + (white - black) * _levels(), strength)


def sepia(stored: Tensor, strength: float, draws: torch.Generator) -> Tensor:
    """Simulates a brown print scanned in color and converted to gray with weights other than the eye's.

    Middle tones have a chroma of 35 towards brown, black and white have none. Gray is any mixture of the scan's red,
    green and blue values, from red alone, which brightens, to blue alone, which darkens. The result is a curve of L.
    """
    shares = torch.empty(3).exponential_(generator=draws)  # divided by their sum: uniform over all mixtures
    gray = torch.tensordot(shares / shares.sum(), _brown(), 1)
    return _through(stored, srgb_to_lightness(gray.expand(3, 1, -1))[0, 0] / 100, strength)


def jpeg(stored: Tensor, strength: float, draws: torch.Generator) -> Tensor:
    """Compresses as JPEG with a quality from 70 down to 20, by Pillow's codec."""
    file = io.BytesIO()
    _to_image(stored[0]).save(file, "JPEG", quality=round(70 - 50 * strength))
    return _from_image(Image.open(file))


DAMAGES: dict[str, Damage] = {
    damage.__name__: damage for damage in (blur, emulsion, film_curve, grain, fade, sepia, jpeg)
}
"""Damages by name, in the order in which they are applied."""


def damaged(stored: Tensor, name: str, strength: float, draws: torch.Generator) -> Tensor:
    """Applies one damage to a photograph.

    Args:
        stored: (3, H, W) uint8 stored LAB on the CPU.
        name: a key of DAMAGES.
        strength: 0..1; 0 returns the photograph unchanged.
        draws: CPU random generator; its state determines the damage.

    Returns:
        (3, H, W) uint8 with a new L and the same a and b.
    """
    if not strength:
        return stored
    return torch.cat((DAMAGES[name](stored, strength, draws)[None], stored[1:]))


def damaged_at_random(stored: Tensor, probability: float, draws: torch.Generator) -> Tensor:
    """Applies, with this probability, one random damage of random strength; training uses it.

    Half of the damaged photographs also get a film curve of random strength.

    Args:
        stored: (3, H, W) uint8 stored LAB on the CPU.
        probability: 0..1.
        draws: CPU random generator.

    Returns:
        (3, H, W) uint8 with the same a and b.
    """
    if _uniform(0, 1, draws) >= probability:
        return stored
    one = list(DAMAGES)[int(torch.randint(len(DAMAGES), (), generator=draws))]
    curved = _uniform(0, 1, draws) < 0.5
    for name in DAMAGES:
        if name == one or (curved and name == "film_curve"):
            stored = damaged(stored, name, _uniform(0, 1, draws), draws)
    return stored


def _uniform(low: float, high: float, draws: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=draws))


def _levels() -> Tensor:
    return torch.arange(256) / 255


def _through(stored: Tensor, curve: Tensor, strength: float) -> Tensor:
    """Maps the lightness through a curve of 256 levels in 0..1; `strength` blends from no change to the curve."""
    return _store(torch.lerp(_levels(), curve, strength))[stored[0].long()]


@lru_cache(maxsize=1)
def _brown() -> Tensor:
    """Returns (3, 256): the sRGB values of a brown print for each level of lightness."""
    levels = _levels()
    chroma = 35 * 4 * levels * (1 - levels)
    brown = torch.stack((100 * levels, *(part * chroma for part in _SEPIA)))
    return lab_to_srgb(brown[..., None])[..., 0].clamp(0, 1)


def _store(lightness: Tensor) -> Tensor:
    return (lightness * 255).round_().clamp_(0, 255).to(torch.uint8)


def _to_image(plane: Tensor) -> Image.Image:
    return Image.fromarray(plane.contiguous().numpy())


def _from_image(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image))
