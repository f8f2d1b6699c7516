"""Photographs in and out: any common file to upright 8-bit sRGB pixels, and colored pixels back into such a file.

Imports Pillow and NumPy alone, so that a process that only decodes starts quickly.
"""

import io
import warnings
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from model.utils.errors import UserError

MAX_PIXELS = 89_478_485
"""Pillow's own line between a photograph and a decompression bomb: 256 MiB of RGB."""

_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp", "GIF": ".jpg"}
"""The formats that are opened, and the suffix of what `encode` makes of each: a GIF has too few colors for one."""

_JPEG_SEGMENT = 65_533  # bytes: EXIF is one segment

# decode() itself refuses what has too many pixels; Pillow's warning would only repeat it.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class ImageError(UserError):
    """A photograph that cannot be used; `reason` says why without naming the file."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}.")
        self.reason = reason


class FormatError(ImageError):
    """The file is of a format that is not opened, or no picture at all."""


class TooLargeError(ImageError):
    """The photograph has more pixels than allowed."""


@dataclass(frozen=True)
class Photograph:
    """A decoded photograph and what it takes to write another one like it."""

    image: Image.Image
    """Mode RGB, sRGB, upright, opaque."""
    width: int
    """Of the whole photograph, upright, in pixels. `image` is smaller when `decode` was given a `min_side`."""
    height: int
    format: str
    """Of the file: JPEG, PNG, WEBP, TIFF, BMP or GIF."""
    exif: bytes
    """What the file said about the picture, with orientation 1 (upright); empty when it said nothing readable, or when
    `decode` was given a `min_side`."""
    icc: bytes
    """The profile that `encode` embeds: the file's own if it is an RGB profile, sRGB's in place of a gray or CMYK one,
    empty if the file has none."""

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """The image as (H, W, 3) uint8."""
        return np.asarray(self.image)

    @property
    def suffix(self) -> str:
        """Of the file that `encode` makes, such as ".jpg"."""
        return _SUFFIXES[self.format]


def decode(source: Path | bytes, *, min_side: int | None = None, max_pixels: int = MAX_PIXELS) -> Photograph:
    """Reads a JPEG, PNG, WebP, TIFF, BMP or GIF (the first frame or page) as upright 8-bit sRGB.

    Grayscale, palette, CMYK and 16-bit files are converted; 16-bit samples are scaled. Transparent pixels are laid on
    white. An embedded ICC profile is applied (relative colorimetric, black point compensation); one that is broken or
    belongs to another kind of image is ignored, as browsers do: the pixels are then taken as sRGB.

    Args:
        source: a file, or its content.
        min_side: lets a JPEG be decoded at 1/2, 1/4 or 1/8 of its size, as long as its short side stays at least this
            long; several times faster when it will be scaled down anyway. Other formats come at their full size. EXIF
            is not read beyond the orientation.
        max_pixels: refuses a file that declares more, before anything is decoded.

    Raises:
        FormatError: the file is of another format.
        TooLargeError: it has more pixels than allowed.
        ImageError: it is missing, truncated, damaged or of 32-bit samples.
    """
    name = str(source) if isinstance(source, Path) else "image"
    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=tuple(_SUFFIXES)) as image:
            if image.width * image.height > max_pixels:
                raise TooLargeError(name, f"{image.width} x {image.height} pixels, more than the limit of {max_pixels}")
            return _read(image, min_side)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise FormatError(name, "not a JPEG, PNG, WebP, TIFF, BMP or GIF file") from None
    except Image.DecompressionBombError:
        raise TooLargeError(name, f"more pixels than the limit of {max_pixels}") from None
    except Exception as error:  # Pillow's decoders raise nearly anything when a file is damaged
        if isinstance(error, OSError) and error.errno is not None:
            raise ImageError(name, f"cannot be read: {error.strerror}") from None
        raise ImageError(
            name, f"damaged or truncated: {' '.join(str(error).split()) or type(error).__name__}"
        ) from None


def encode(rgb: NDArray[np.uint8], like: Photograph) -> bytes:
    """The content of a file of these pixels in the format of `like`, with its EXIF and its ICC profile.

    Where that profile is another RGB space, the pixels are converted into it. A GIF becomes a JPEG. JPEG is written at
    quality 95 without chroma subsampling, WebP at quality 95, TIFF with lossless compression unless its EXIF holds more
    than the main directory. BMP holds no metadata. EXIF that cannot be written is left out.

    Args:
        rgb: (H, W, 3) uint8, sRGB, upright.
        like: whose format, EXIF and profile to use, from `decode`.

    Raises:
        ImageError: the format cannot hold the picture, such as a WebP of more than 16383 pixels a side.
        ValueError: `rgb` has another shape or dtype.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"need (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
    image, icc = _out_of_srgb(Image.fromarray(rgb), like.icc)
    file_format = "JPEG" if like.suffix == ".jpg" else like.format
    options: dict[str, Any] = {"exif": like.exif, "icc_profile": icc or None}
    if file_format == "JPEG":
        options |= {"quality": 95, "subsampling": 0}
        if len(like.exif) > _JPEG_SEGMENT:
            del options["exif"]
    elif file_format == "WEBP":
        options |= {"quality": 95}
    elif file_format == "TIFF" and not _directories(like.exif):  # libtiff, which compresses, writes but one
        options |= {"compression": "tiff_adobe_deflate"}
    content = io.BytesIO()
    try:
        image.save(content, file_format, **options)
    except Exception as error:  # damaged EXIF may be read, and only then make an encoder raise nearly anything
        if options.pop("exif", None):
            return encode(rgb, replace(like, exif=b""))
        raise ImageError("image", f"cannot be written as {file_format}: {error}") from None
    return content.getvalue()


def _read(image: Image.Image, min_side: int | None) -> Photograph:
    file_format = "JPEG" if image.format == "MPO" else str(image.format)  # MPO: a JPEG with more pictures behind it
    icc = image.info.get("icc_profile") or b""
    width, height = image.size
    if _orientation(image) >= 5:  # asked before loading, which turns a TIFF
        width, height = height, width
    if min_side is not None:
        image.draft(None, (min_side, min_side))
    exif = _description(image, width, height) if min_side is None else b""  # before a TIFF is loaded and closed
    image.load()
    if _orientation(image) > 1:
        ImageOps.exif_transpose(image, in_place=True)
    upright, icc = _into_srgb(_opaque(image), icc)
    return Photograph(upright, width, height, file_format, exif, icc)


def _opaque(image: Image.Image) -> Image.Image:
    """The image as L, RGB or CMYK of 8 bits, laid on white."""
    if image.mode.startswith("I;16"):
        samples = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((samples + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("samples of 32 bits are not supported")
    if image.has_transparency_data:
        gray = image.mode in ("1", "L", "LA", "La")
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("L" if gray else "RGB")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def _into_srgb(image: Image.Image, icc: bytes) -> tuple[Image.Image, bytes]:
    """An image of mode L, RGB or CMYK in sRGB, and the profile to embed in its like."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    if not icc:
        return rgb, b""
    try:
        transform = _transform(icc, image.mode)
    except (ImageCms.PyCMSError, OSError):  # broken, or of another kind of image
        return rgb, b""
    converted = image if transform is None else _apply(transform, image)
    return converted, icc if image.mode == "RGB" else _SRGB_ICC


def _out_of_srgb(image: Image.Image, icc: bytes) -> tuple[Image.Image, bytes]:
    """An sRGB image in the space of the profile to embed, and that profile."""
    if not icc or icc == _SRGB_ICC:
        return image, icc
    try:
        transform = _transform(icc, "RGB", into=False)
    except (ImageCms.PyCMSError, OSError):  # it leads only out of its space, as a camera's may
        return image, _SRGB_ICC
    return (image if transform is None else _apply(transform, image)), icc


@lru_cache(maxsize=64)
def _transform(icc: bytes, mode: str, *, into: bool = True) -> ImageCms.ImageCmsTransform | None:
    """From an embedded profile into sRGB, or out of sRGB back into it; None where that changes nothing.

    Most embedded profiles are sRGB under one name or another. They are told by what they do: no color of a grid of
    17 x 17 x 17 moves by more than one level.
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


def _apply(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # only where it is asked to work in place
    return converted


def _orientation(image: Image.Image) -> int:
    """EXIF's: 1 is upright, 2..4 mirrored or upside down, 5..8 lying on a side."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF does not spoil the picture
        return 1
    return orientation if orientation in range(1, 9) else 1


def _description(image: Image.Image, width: int, height: int) -> bytes:
    """The file's EXIF for an upright picture of this size, without what describes the layout of a TIFF."""
    try:
        found, exif = image.getexif(), Image.Exif()
        for tag in found.keys() - _LAYOUT_TAGS - set(_DIRECTORIES):
            exif[tag] = found[tag]
        for directory in _DIRECTORIES:
            if details := found.get_ifd(directory):
                exif.get_ifd(directory).update(details)
        if not exif and not any(map(exif.get_ifd, _DIRECTORIES)):
            return b""
        exif[ExifTags.Base.Orientation] = 1
        details = found.get_ifd(ExifTags.IFD.Exif)
        for tag, length in ((ExifTags.Base.ExifImageWidth, width), (ExifTags.Base.ExifImageHeight, height)):
            if tag in details:
                exif.get_ifd(ExifTags.IFD.Exif)[tag] = length
        return exif.tobytes()
    except Exception:  # damaged EXIF is not carried on
        return b""


def _directories(exif: bytes) -> bool:
    """Whether EXIF holds more than a picture's main directory."""
    read = Image.Exif()
    read.load(exif)
    return any(map(read.get_ifd, _DIRECTORIES))


def _srgb_profile() -> bytes:
    """Little CMS's sRGB without the time of its making (ICC.1, 7.2.8), so that the same input gives the same file."""
    profile = bytearray(_SRGB.tobytes())
    profile[24:36] = bytes(12)
    return bytes(profile)


_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_SRGB_ICC = _srgb_profile()
# TIFF 6.0's tags of how samples are stored, the ICC profile and XMP, which tells the orientation once more.
_LAYOUT_TAGS = {*range(254, 269), 273, 277, 278, 279, 284, *range(288, 294), 301, 317, *range(320, 326), 330, 332, 338}
_LAYOUT_TAGS |= {339, *range(340, 350), *range(512, 522), 529, 530, 531, 532, 700, 34377, 34675}
_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
