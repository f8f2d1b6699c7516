"""Conversions between sRGB, CIELAB, its 8-bit storage and the networks' range; gamut mapping.

sRGB is IEC 61966-2-1; CIELAB is CIE 15 with the D65 white point of the 2 degree observer, as in scikit-image.
Everything is computed in float32 with autocast off: half precision is too coarse for cube roots and near black.
"""

import torch
from torch import Tensor

AB_SCALE = 110.0
"""The generator's tanh covers a and b from -110 to 110: every sRGB color lies inside (a: -86..98, b: -108..94)."""

_RGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)  # ITU-R BT.709 primaries with a D65 white point
LUMINANCE = _RGB_TO_XYZ[1]
"""Weights of linear sRGB's red, green and blue in CIE's Y."""
_WHITE = (0.95047, 1.0, 1.08883)  # D65, 2 degree observer
_RGB_TO_RELATIVE_XYZ = tuple(tuple(v / white for v in row) for row, white in zip(_RGB_TO_XYZ, _WHITE, strict=True))
_ROOTS_TO_LAB = (
    (0.0, 116.0, 0.0),
    (500.0, -500.0, 0.0),
    (0.0, 200.0, -200.0),
)  # CIE 15, before 16 is subtracted from L
_EPSILON = (6 / 29) ** 3  # below it, the tangent replaces the cube root (CIE 15)
_KAPPA_SLOPE = 841 / 108  # (29/6)^2 / 3


def srgb_to_lab(rgb: Tensor) -> Tensor:
    """Converts sRGB to CIELAB.

    Args:
        rgb: (..., 3, H, W), any float dtype, 0..1; or uint8, 0..255, which is faster.

    Returns:
        (..., 3, H, W) float32: L in 0..100, a and b in CIELAB units. Gradients are finite everywhere, black included.

    Raises:
        ValueError: the third axis from the end does not have three channels.
    """
    _need_three_channels(rgb)
    with torch.autocast(rgb.device.type, enabled=False):
        roots = _cube_root(_matrix(_RGB_TO_RELATIVE_XYZ, _to_linear(rgb)))
        return _matrix(_ROOTS_TO_LAB, roots) - _column((16.0, 0.0, 0.0), roots)


def srgb_to_lightness(rgb: Tensor) -> Tensor:
    """Computes only the L of `srgb_to_lab`, in half the time.

    Args:
        rgb: (..., 3, H, W), as for `srgb_to_lab`.

    Returns:
        (..., 1, H, W) float32 in 0..100.
    """
    _need_three_channels(rgb)
    with torch.autocast(rgb.device.type, enabled=False):
        return luminance_to_lightness(_matrix(_RGB_TO_XYZ[1:2], _to_linear(rgb)))


def luminance_to_lightness(luminance: Tensor) -> Tensor:
    """Converts relative luminance, float32 of any shape in 0..1, to CIE 15's L in 0..100."""
    return 116 * _cube_root(luminance) - 16


def lab_to_srgb(lab: Tensor) -> Tensor:
    """Converts CIELAB to sRGB without clipping: values outside 0..1 mean that the color is out of gamut.

    Args:
        lab: (..., 3, H, W), any float dtype, L in 0..100.

    Returns:
        (..., 3, H, W) float32. Gradients are finite everywhere.

    Raises:
        ValueError: the third axis from the end does not have three channels.
    """
    _need_three_channels(lab)
    with torch.autocast(lab.device.type, enabled=False):
        return _from_linear(lab_to_linear(lab.float()))


def lab_to_linear(lab: Tensor) -> Tensor:
    """Converts CIELAB to linear sRGB, which is proportional to light: (..., 3, H, W) float32, unclipped."""
    L, a, b = lab.unbind(-3)
    fy = (L + 16) / 116
    f = torch.stack((fy + a / 500, fy, fy - b / 200), dim=-3)
    xyz = f.clamp(min=6 / 29) ** 3 + (f - 6 / 29).clamp(max=0) / _KAPPA_SLOPE
    return _matrix(_XYZ_TO_RGB, xyz * _column(_WHITE, f))


def into_gamut(lab: Tensor, steps: int = 12) -> Tensor:
    """Moves colors outside sRGB's gamut into it by lowering their chroma at constant L and hue.

    Bisection finds the largest share of (a, b) inside the RGB cube, to 1 part in 2^steps: the segment from a gray to a
    color leaves the gamut once, up to rounding.

    Args:
        lab: (..., 3, H, W), L in 0..100.
        steps: halvings; 12 leave an error below 0.03 CIELAB units of chroma.

    Returns:
        (..., 3, H, W) float32 with the same L. Colors in gamut do not change.
    """
    lab = lab.float()
    outside = ~in_gamut(lab)
    if not bool(outside.any()):
        return lab
    colors = lab.detach().movedim(-3, 0)[:, outside].unsqueeze(-1)  # (3, N, 1): only colors that need the search
    L, ab = colors[:1], colors[1:]
    low = torch.zeros_like(L)
    high = torch.ones_like(L)
    for _ in range(steps):
        middle = (low + high) / 2
        fits = in_gamut(torch.cat((L, ab * middle))).unsqueeze(0)
        low = torch.where(fits, middle, low)
        high = torch.where(fits, high, middle)
    share = torch.ones_like(outside, dtype=torch.float32)
    share[outside] = low.flatten()
    return torch.cat((lab[..., :1, :, :], lab[..., 1:, :, :] * share.unsqueeze(-3)), dim=-3)


def in_gamut(lab: Tensor, tolerance: float = 1e-4) -> Tensor:
    """Finds the pixels inside sRGB's gamut: (..., 3, H, W) CIELAB -> (..., H, W) bool.

    Args:
        lab: L in 0..100, a and b in CIELAB units.
        tolerance: in units of RGB in 0..1.
    """
    _need_three_channels(lab)
    with torch.autocast(lab.device.type, enabled=False):
        linear = lab_to_linear(lab.float())  # bounds are converted instead of pixels: sRGB's curve is monotonic
        low, high = -tolerance / 12.92, ((1 + tolerance + 0.055) / 1.055) ** 2.4
        inside: Tensor = (linear.amin(dim=-3) >= low) & (linear.amax(dim=-3) <= high)
        return inside


def encode_lab(lab: Tensor) -> Tensor:
    """Converts CIELAB to its 8-bit storage: round(L * 255 / 100), round(a + 128), round(b + 128).

    Over the 8-bit RGB cube, the error of RGB -> stored LAB -> RGB is 0.7 levels on average (a test requires below 1).

    Args:
        lab: (..., 3, H, W) float.

    Returns:
        (..., 3, H, W) uint8.
    """
    _need_three_channels(lab)
    scaled = lab * _column((2.55, 1.0, 1.0), lab) + _column((0.0, 128.0, 128.0), lab)
    return scaled.round_().clamp_(0, 255).to(torch.uint8)


def decode_lab(stored: Tensor) -> Tensor:
    """Converts the 8-bit storage to CIELAB: (..., 3, H, W) uint8 -> float32 of the same shape."""
    _need_three_channels(stored)
    values = stored.float()
    return torch.cat((values[..., :1, :, :] / 2.55, values[..., 1:, :, :] - 128), dim=-3)


def to_network(lab: Tensor) -> tuple[Tensor, Tensor]:
    """Converts CIELAB to the networks' range: L / 50 - 1 and (a, b) / 110.

    Args:
        lab: (..., 3, H, W) float.

    Returns:
        L (..., 1, H, W) and ab (..., 2, H, W), both float32 and within -1..1.
    """
    lab = lab.float()
    return lab[..., :1, :, :] / 50 - 1, lab[..., 1:, :, :] / AB_SCALE


def from_network(L: Tensor, ab: Tensor) -> Tensor:
    """Inverts `to_network`: L (..., 1, H, W) and ab (..., 2, H, W) in -1..1 -> CIELAB (..., 3, H, W) float32."""
    return torch.cat(((L.float() + 1) * 50, ab.float() * AB_SCALE), dim=-3)


def to_uint8(rgb: Tensor) -> Tensor:
    """Converts RGB in 0..1 of any float dtype to uint8 of the same shape, rounded and clipped."""
    return (rgb * 255).round().clamp(0, 255).to(torch.uint8)


def _to_linear(rgb: Tensor) -> Tensor:
    if rgb.dtype == torch.uint8:
        levels = _to_linear(torch.arange(256, device=rgb.device) / 255)
        return levels.index_select(0, rgb.flatten().int()).view(rgb.shape)
    rgb = rgb.float()
    # Sum of the curve above 0.04045 and the line below it, each clamped on the other side: no branch, no NaN gradients.
    return ((rgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4 + (rgb - 0.04045).clamp(max=0) / 12.92


def _from_linear(linear: Tensor) -> Tensor:
    return 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055 + (linear - 0.0031308).clamp(max=0) * 12.92


def _cube_root(xyz: Tensor) -> Tensor:
    """Computes CIE 15's f: the cube root, or its tangent below _EPSILON; exp(log / 3) is faster than a power."""
    root = xyz.clamp(min=_EPSILON).log().div_(3).exp_()
    return (xyz - _EPSILON).clamp(max=0).mul_(_KAPPA_SLOPE).add_(root)


def _matrix(rows: tuple[tuple[float, ...], ...], channels: Tensor) -> Tensor:
    """Multiplies a 3-column matrix with every pixel, without matmul: a GPU may compute that in TF32 of 10 bits."""
    planes = channels.unbind(-3)
    products = []
    for row in rows:
        (weight, plane), *rest = ((weight, plane) for weight, plane in zip(row, planes, strict=True) if weight)
        product = plane * weight
        for weight, plane in rest:
            product.add_(plane, alpha=weight)
        products.append(product)
    return torch.stack(products, dim=-3)


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    # Not blocking: a step of training does not wait for the GPU here.
    return torch.tensor(values, dtype=torch.float32).to(like.device, non_blocking=True).view(-1, 1, 1)


def _need_three_channels(image: Tensor) -> None:
    if image.dim() < 3 or image.shape[-3] != 3:
        raise ValueError(f"need (..., 3, H, W), got {tuple(image.shape)}")


_XYZ_TO_RGB: tuple[tuple[float, ...], ...] = tuple(
    tuple(row) for row in torch.linalg.inv(torch.tensor(_RGB_TO_XYZ, dtype=torch.float64)).tolist()
)
