"""ICC profiles: conversion of pixels of 8 and 16 bits into sRGB and back."""

import io
import struct
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

MAX_BYTES = 4 << 20
"""Largest profile that is read; real ones have less than 3 MB."""

_CACHED = 64 << 10  # a profile up to this size is cached with its transform
_STRIP = 1 << 17  # pixels of 16 bits that are converted at a time; each takes some 130 bytes meanwhile

Deep = NDArray[np.uint16]
"""(H, W) gray or (H, W, 3) RGB."""


def into_srgb(image: Image.Image, icc: bytes) -> tuple[Image.Image, bytes]:
    """Converts an image of mode L, RGB or CMYK to sRGB; also returns the profile for a file of the result.

    A profile that is broken, too large or for another kind of image is ignored, as browsers do.
    """
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    if not icc or len(icc) > MAX_BYTES:
        return rgb, b""
    try:
        transform = _transform(icc, image.mode)
    except (ImageCms.PyCMSError, OSError):
        return rgb, b""
    converted = image if transform is None else _apply(transform, image)
    return converted, icc if image.mode == "RGB" else SRGB_ICC


def out_of_srgb(image: Image.Image, icc: bytes) -> tuple[Image.Image, bytes]:
    """Converts an sRGB image to the space of a profile; also returns the profile for its file."""
    if not icc or icc == SRGB_ICC:
        return image, icc
    try:
        transform = _transform(icc, "RGB", into=False)
    except (ImageCms.PyCMSError, OSError):  # some profiles, such as cameras', convert in one direction only
        return image, SRGB_ICC
    return (image if transform is None else _apply(transform, image)), icc


def deep_into_srgb(samples: Deep, icc: bytes) -> tuple[Deep, bytes] | None:
    """Converts samples of 16 bits to sRGB as `into_srgb` does; returns None where that takes tables of colors.

    Little CMS converts pixels of 8 bits here, so curves and matrices are applied by this module.
    """
    gray = samples.ndim == 2
    if not icc or len(icc) > MAX_BYTES:
        return samples, b""
    try:
        if (transform := _transform(icc, "L" if gray else "RGB")) is None:
            return samples, icc
        assert transform is not None
        curves, matrix = _curves_and_matrix(icc, gray)
    except (ImageCms.PyCMSError, OSError):
        return samples, b""
    except (ValueError, struct.error, np.linalg.LinAlgError):
        return None
    if gray:
        return (_from_linear(curves[0]) * 65535).round().astype(np.uint16)[samples], SRGB_ICC
    return _by_matrix(samples, curves, np.linalg.inv(_SRGB_TO_XYZ) @ matrix), icc


def deep_out_of_srgb(samples: Deep, icc: bytes) -> tuple[Deep, bytes]:
    """Converts sRGB samples of 16 bits, (H, W, 3), to the space of a profile that `deep_into_srgb` converted from."""
    if not icc or icc == SRGB_ICC or _transform(icc, "RGB") is None:
        return samples, icc
    curves, matrix = _curves_and_matrix(icc, gray=False)
    levels = np.arange(65536) / 65535
    inverse = [np.interp(levels, curve, levels) for curve in curves]
    linear = [_to_linear(levels)] * 3
    return _by_matrix(samples, linear, np.linalg.inv(matrix) @ _SRGB_TO_XYZ, inverse), icc


def from_gamma(gamma: float) -> NDArray[np.float64]:
    """Returns 65536 levels of samples that a power of light encodes, as sRGB in 0..1."""
    return _from_linear((np.arange(65536) / 65535) ** (1 / max(gamma, 0.01)))


def _by_matrix(
    samples: Deep,
    curves: list[NDArray[np.float64]],
    matrix: NDArray[np.float64],
    inverse: list[NDArray[np.float64]] | None = None,
) -> Deep:
    """Applies a curve to each channel, a matrix to the pixels, and the inverse curves, or sRGB's."""
    made = np.empty_like(samples)
    rows = max(1, _STRIP // samples.shape[1])
    for top in range(0, len(samples), rows):
        part = samples[top : top + rows]
        linear = np.stack([curve[part[..., channel]] for channel, curve in enumerate(curves)], axis=-1)
        mixed = (linear @ matrix.T).clip(0, 1)
        if inverse is None:
            encoded = _from_linear(mixed)
        else:
            at = mixed * 65535
            encoded = np.stack([np.interp(at[..., i], np.arange(65536), inverse[i]) for i in range(3)], axis=-1)
        made[top : top + rows] = (encoded * 65535).round()
    return made


def _curves_and_matrix(icc: bytes, gray: bool) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Reads the curves, each of 65536 levels of light, and the matrix to XYZ (ICC.1, 9.2 and 10).

    Raises:
        ValueError: the profile has tables of colors, or curves of an unknown kind.
    """
    count = struct.unpack_from(">I", icc, 128)[0]
    entries = (struct.unpack_from(">4sII", icc, 132 + 12 * number) for number in range(min(count, 200)))
    tags = {name: icc[at : at + size] for name, at, size in entries}
    if b"A2B0" in tags or b"A2B1" in tags:
        raise ValueError("a profile with tables of colors")
    names = [b"kTRC"] if gray else [b"rTRC", b"gTRC", b"bTRC"]
    if any(name not in tags for name in names):
        raise ValueError("a profile without curves")
    curves = [_curve(tags[name]) for name in names]
    if gray:
        black = curves[0][0]  # black point compensation
        return [(curves[0] - black) / max(1 - black, 1e-6)], np.eye(1)
    columns = [struct.unpack_from(">3i", tags[name], 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    return curves, np.array(columns, dtype=np.float64).T / 65536


def _curve(tag: bytes) -> NDArray[np.float64]:
    """Evaluates a curve at 65536 levels (ICC.1, 10.6 curveType and 10.18 parametricCurveType)."""
    levels = np.arange(65536) / 65535
    if tag[:4] == b"curv":
        count = struct.unpack_from(">I", tag, 8)[0]
        if count <= 1:
            return levels ** (struct.unpack_from(">H", tag, 12)[0] / 256) if count else levels
        if count > 65536:
            raise ValueError("a curve of too many points")
        table = np.array(struct.unpack_from(f">{count}H", tag, 12)) / 65535
        return np.interp(levels, np.linspace(0, 1, count), table)
    if tag[:4] != b"para":
        raise ValueError("a curve of an unknown kind")
    number = struct.unpack_from(">H", tag, 8)[0]
    g, *rest = (value / 65536 for value in struct.unpack_from(f">{(1, 3, 4, 5, 7)[number]}i", tag, 12))
    a, b, c, d, e, f = ([*rest, 0, 0, 0, 0, 0, 0] if rest else [1, 0, 0, 0, 0, 0, 0])[:6]
    power = np.maximum(a * levels + b, 0) ** g
    if number <= 1:
        return power if number == 0 else np.where(a * levels + b >= 0, power, 0)
    if number == 2:
        return np.where(a * levels + b >= 0, power + c, c)
    return np.where(levels >= d, power + e, c * levels + f).clip(0, 1)


def _to_linear(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _from_linear(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055).clip(0, 1)


def _transform(icc: bytes, mode: str, *, into: bool = True) -> ImageCms.ImageCmsTransform | None:
    """Builds the transform from an embedded profile to sRGB or back; returns None if it changes nothing."""
    return (_cached if len(icc) <= _CACHED else _built)(icc, mode, into)


def _built(icc: bytes, mode: str, into: bool) -> ImageCms.ImageCmsTransform | None:
    """Builds a transform.

    Most embedded profiles are sRGB under some name. They are recognized by their effect: no color in a grid of
    17 x 17 x 17 changes by more than one level.
    """
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    ends, modes = (profile, _SRGB), (mode, "RGB")
    if not into:
        ends, modes = ends[::-1], modes[::-1]
    transform = ImageCms.buildTransform(
        *ends, *modes, ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    )
    if mode != "RGB":
        return transform
    levels = np.linspace(0, 255, 17).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    moved = np.asarray(_apply(transform, Image.fromarray(grid))).astype(int)
    return None if np.abs(moved - grid).max() <= 1 else transform


_cached = lru_cache(maxsize=32)(_built)


def _apply(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # only where it is asked to work in place
    return converted


def _srgb_profile() -> bytes:
    """Returns Little CMS's sRGB profile without its date (ICC.1, 7.2.8), so that equal inputs give equal files."""
    profile = bytearray(_SRGB.tobytes())
    profile[24:36] = bytes(12)
    return bytes(profile)


_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
SRGB_ICC = _srgb_profile()
"""The profile of sRGB."""
_SRGB_TO_XYZ = np.array(
    ((0.4360747, 0.3850649, 0.1430804), (0.2225045, 0.7168786, 0.0606169), (0.0139322, 0.0971045, 0.7141733))
)  # IEC 61966-2-1's primaries adapted to D50, as ICC profiles store them
