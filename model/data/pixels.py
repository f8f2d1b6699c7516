"""Pixels between a decoder and sRGB: orientation, transparency, gamma and depth, for 8 and 16 bits."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.data import profiles
from model.data.samples import Samples

Deep = NDArray[np.uint16]
Picture = Image.Image | Deep
"""An image of Pillow with samples of 8 bits, or (H, W, channels) of 16 bits; alpha is the last of 2 or 4 channels."""
Colors = Image.Image | Deep
"""An image of mode L, RGB or CMYK, or (H, W) gray or (H, W, 3) RGB of 16 bits."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Operation that makes a picture of each orientation in EXIF upright."""
_WHITE = 65535
_STRIP = 1 << 20  # pixels that are converted at a time


def from_samples(samples: Samples, alpha: str = "", transparent: tuple[int, ...] = ()) -> Picture:
    """Returns a picture of samples.

    Args:
        samples: (H, W, channels).
        alpha: "associated" where the colors are multiplied with alpha, else "unassociated"; empty without alpha.
        transparent: the color that is transparent, of 16 bits; empty for none.
    """
    if samples.dtype == np.uint8:
        modes = {1: "L", 2: "La" if alpha == "associated" else "LA", 3: "RGB"}
        mode = modes.get(samples.shape[2], "RGBa" if alpha == "associated" else "RGBA")
        height, width = samples.shape[:2]
        image = Image.frombytes(mode, (width, height), np.ascontiguousarray(samples).tobytes())
        return image.convert({"La": "LA", "RGBa": "RGBA"}[mode]) if mode in ("La", "RGBa") else image
    deep: Deep = samples
    if transparent and len(transparent) == deep.shape[2]:
        clear = (deep == np.array(transparent, np.uint16)).all(axis=2)
        deep = np.concatenate((deep, np.where(clear, 0, _WHITE).astype(np.uint16)[..., None]), axis=2)
    if alpha == "associated":
        straight = np.empty_like(deep)
        straight[..., -1] = deep[..., -1]
        for rows in _strips(deep):
            opacity = deep[rows][..., -1:].astype(np.uint32)
            whole = deep[rows][..., :-1].astype(np.uint32) * _WHITE // np.maximum(opacity, 1)
            straight[rows][..., :-1] = np.minimum(whole, _WHITE)
        deep = straight
    return deep


def size(picture: Picture) -> tuple[int, int]:
    """Returns the width and height."""
    return picture.size if isinstance(picture, Image.Image) else (picture.shape[1], picture.shape[0])


def upright(picture: Picture, orientation: int) -> Picture:
    """Turns and mirrors a picture as EXIF's orientation says."""
    if isinstance(picture, Image.Image):
        return picture.transpose(_TURNS[orientation]) if orientation in _TURNS else picture
    if orientation >= 5:
        picture = picture.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        picture = picture[::-1]
    if orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    return picture


def opaque(picture: Picture, keep_alpha: bool) -> tuple[Colors, Samples | None]:
    """Blends a picture with white, or takes its alpha off.

    Returns:
        The colors, and the opacity (H, W) if it is kept and there is one.
    """
    if not isinstance(picture, Image.Image):
        return _opaque_deep(picture, keep_alpha)
    alpha = None
    if picture.has_transparency_data:
        gray = picture.mode in ("1", "L", "LA", "La")
        layer = picture.convert("RGBA")
        if keep_alpha:
            alpha = np.asarray(layer.getchannel("A"))
            picture = layer.convert("RGB")
        else:
            picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        picture = picture.convert("L" if gray else "RGB")
    if picture.mode in ("I", "F"):
        raise ValueError("samples of 32 bits are not supported")
    if picture.mode == "1":
        return picture.convert("L"), alpha
    return (picture if picture.mode in ("L", "RGB", "CMYK") else picture.convert("RGB")), alpha


def by_gamma(colors: Colors, gamma: float) -> Colors:
    """Converts gray or RGB that a power of light encodes to sRGB.

    Args:
        colors: the samples.
        gamma: samples are proportional to light to the power of it, as PNG's gAMA says.
    """
    curve = profiles.from_gamma(gamma)
    if isinstance(colors, Image.Image):
        return colors.point((curve[::257] * 255).round().astype(int).tolist() * len(colors.getbands()))
    return (curve * _WHITE).round().astype(np.uint16)[colors]


def into_srgb(colors: Colors, icc: bytes) -> tuple[Image.Image, Deep | None, bytes]:
    """Converts colors to sRGB.

    Returns:
        The image of mode RGB; its samples of 16 bits, if there are any; the profile for a file of it.
    """
    if isinstance(colors, Image.Image):
        image, kept = profiles.into_srgb(colors, icc)
        return image, None, kept
    if (converted := profiles.deep_into_srgb(colors, icc)) is None:
        image, kept = profiles.into_srgb(Image.fromarray(eight_bits(colors)), icc)
        return image, None, kept
    deep = np.ascontiguousarray(converted[0])
    return Image.fromarray(eight_bits(deep)).convert("RGB"), deep, converted[1]


def eight_bits(samples: Samples) -> NDArray[np.uint8]:
    """Rounds samples of 16 bits to 8."""
    rounded = np.empty(samples.shape, np.uint8)
    for rows in _strips(samples):
        rounded[rows] = (samples[rows].astype(np.uint32) + 128) // 257
    return rounded


def _opaque_deep(picture: Deep, keep_alpha: bool) -> tuple[Deep, Deep | None]:
    channels = picture.shape[2]
    colors = picture[..., 0] if channels <= 2 else picture[..., :3]
    if channels in (1, 3):
        return colors, None
    alpha = picture[..., -1]
    if keep_alpha:
        return colors, alpha
    blended = np.empty(colors.shape, np.uint16)
    for rows in _strips(picture):
        opacity = (alpha[rows] if colors.ndim == 2 else alpha[rows][..., None]).astype(np.uint32)
        blended[rows] = (colors[rows] * opacity + _WHITE * (_WHITE - opacity) + _WHITE // 2) // _WHITE
    return blended, None


def _strips(picture: Samples) -> list[slice]:
    """Divides the rows, for sums that need more bits than the samples have."""
    rows = max(1, _STRIP // picture.shape[1])
    return [slice(top, top + rows) for top in range(0, len(picture), rows)]
