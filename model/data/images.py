"""Decoding of image files to upright 8-bit sRGB pixels, and encoding of pixels in the format of such a file.

It imports only Pillow and NumPy, so that a process that only decodes starts quickly.
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
"""Pillow's own limit between a photograph and a decompression bomb: 256 MiB of RGB."""

_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp", "GIF": ".jpg"}
"""Formats that are opened, and the suffix of the file that `encode` writes: a GIF cannot hold enough colors."""

_JPEG_SEGMENT = 65_533  # bytes: EXIF is one segment

# decode() itself refuses too many pixels; Pillow's warning would only repeat it.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class ImageError(UserError):
    """Reports a photograph that cannot be used; `reason` gives the cause without the file's name."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}.")
        self.reason = reason


class FormatError(ImageError):
    """Reports a file of another format, or one that is not an image."""


class TooLargeError(ImageError):
    """Reports a photograph with more pixels than allowed; `size` is its width and height, if they are known."""

    def __init__(self, name: str, limit: int, size: tuple[int, int] | None = None) -> None:
        what = f"{size[0]} x {size[1]} pixels, more than" if size else "more pixels than"
        super().__init__(name, f"{what} the limit of {limit}")
        self.size = size


@dataclass(frozen=True)
class Photograph:
    """Holds a decoded photograph and the metadata to write another one like it."""

    image: Image.Image
    """Mode RGB, sRGB, upright, opaque."""
    width: int
    """Width of the whole upright photograph in pixels; `image` may be smaller if `decode` had a `min_side`."""
    height: int
    """Height of the whole upright photograph in pixels."""
    format: str
    """Format of the file: JPEG, PNG, WEBP, TIFF, BMP or GIF."""
    exif: bytes
    """EXIF of the file with orientation 1 (upright); empty if it is missing or unreadable, or if `decode` had a
    `min_side`."""
    icc: bytes
    """Profile that `encode` embeds: the file's own RGB profile, sRGB's instead of a gray or CMYK profile, or empty if
    the file has none."""

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """Returns the image as (H, W, 3) uint8 sRGB."""
        return np.asarray(self.image)

    @property
    def suffix(self) -> str:
        """Returns the suffix of the file that `encode` writes, such as ".jpg"."""
        return _SUFFIXES[self.format]


def decode(source: Path | bytes, *, min_side: int | None = None, max_pixels: int = MAX_PIXELS) -> Photograph:
    """Reads a JPEG, PNG, WebP, TIFF, BMP or GIF (the first frame or page) as upright 8-bit sRGB.

    Grayscale, palette, CMYK and 16-bit files are converted; 16-bit samples are scaled. Transparent pixels are blended
    with white. An embedded ICC profile is applied (relative colorimetric, black point compensation). A profile that is
    broken or belongs to another kind of image is ignored, as browsers do: the pixels then count as sRGB.

    Args:
        source: a file, or its content.
        min_side: decodes a JPEG at 1/2, 1/4 or 1/8 of its size if its short side stays at least this long, which is
            several times faster if it is scaled down afterwards. Other formats are decoded at full size. Of EXIF, only
            the orientation is read.
        max_pixels: largest number of pixels; a file that declares more is refused before it is decoded.

    Raises:
        FormatError: the file has another format.
        TooLargeError: the file has more pixels than allowed.
        ImageError: the file is missing, truncated or damaged, or has 32-bit samples.
        MemoryError: there is not enough memory.
    """
    name = str(source) if isinstance(source, Path) else "image"
    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=tuple(_SUFFIXES)) as image:
            if image.width * image.height > max_pixels:
                raise TooLargeError(name, max_pixels, image.size)
            return _read(image, min_side)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise FormatError(name, "not a JPEG, PNG, WebP, TIFF, BMP or GIF file") from None
    except Image.DecompressionBombError:
        raise TooLargeError(name, max_pixels) from None
    except MemoryError:
        raise
    except Exception as error:  # damaged files make Pillow's decoders raise nearly anything
        if isinstance(error, OSError) and error.errno is not None:
            raise ImageError(name, f"cannot be read: {error.strerror}") from None
        raise ImageError(
            name, f"damaged or truncated: {' '.join(str(error).split()) or type(error).__name__}"
        ) from None


def encode(rgb: NDArray[np.uint8], like: Photograph) -> bytes:
    """Returns the content of a file with these pixels and with the format, EXIF and ICC profile of `like`.

    If the profile belongs to another RGB space, the pixels are converted into it. A GIF becomes a JPEG. JPEG has
    quality 95 without chroma subsampling, WebP has quality 95, TIFF has lossless compression unless its EXIF holds more
    than the main directory. BMP holds no metadata. EXIF that cannot be written is left out.

    Args:
        rgb: (H, W, 3) uint8, sRGB, upright.
        like: the result of `decode` whose format, EXIF and profile are used.

    Raises:
        ImageError: the format cannot hold the picture, such as a WebP with a side above 16383 pixels.
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
    elif file_format == "TIFF" and not _directories(like.exif):  # libtiff, which compresses, writes only one directory
        options |= {"compression": "tiff_adobe_deflate"}
    content = io.BytesIO()
    try:
        image.save(content, file_format, **options)
    except MemoryError:
        raise
    except Exception as error:  # EXIF that was read can still make an encoder raise nearly anything
        if options.pop("exif", None):
            return encode(rgb, replace(like, exif=b""))
        raise ImageError("image", f"cannot be written as {file_format}: {error}") from None
    return content.getvalue()


def _read(image: Image.Image, min_side: int | None) -> Photograph:
    file_format = "JPEG" if image.format == "MPO" else str(image.format)  # MPO: a JPEG followed by more pictures
    icc = image.info.get("icc_profile") or b""
    width, height = image.size
    if _orientation(image) >= 5:  # before loading, which rotates a TIFF
        width, height = height, width
    if min_side is not None:
        image.draft(None, (min_side, min_side))
    exif = _description(image, width, height) if min_side is None else b""  # before loading, which closes a TIFF
    image.load()
    if _orientation(image) > 1:
        ImageOps.exif_transpose(image, in_place=True)
    upright, icc = _into_srgb(_opaque(image), icc)
    return Photograph(upright, width, height, file_format, exif, icc)


def _opaque(image: Image.Image) -> Image.Image:
    """Converts an image to 8-bit L, RGB or CMYK, blended with white."""
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
    """Converts an image of mode L, RGB or CMYK to sRGB; also returns the profile that `encode` embeds."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    if not icc:
        return rgb, b""
    try:
        transform = _transform(icc, image.mode)
    except (ImageCms.PyCMSError, OSError):  # broken, or for another kind of image
        return rgb, b""
    converted = image if transform is None else _apply(transform, image)
    return converted, icc if image.mode == "RGB" else _SRGB_ICC


def _out_of_srgb(image: Image.Image, icc: bytes) -> tuple[Image.Image, bytes]:
    """Converts an sRGB image to the space of the profile to embed; also returns that profile."""
    if not icc or icc == _SRGB_ICC:
        return image, icc
    try:
        transform = _transform(icc, "RGB", into=False)
    except (ImageCms.PyCMSError, OSError):  # some profiles, such as cameras', convert in one direction only
        return image, _SRGB_ICC
    return (image if transform is None else _apply(transform, image)), icc


@lru_cache(maxsize=64)
def _transform(icc: bytes, mode: str, *, into: bool = True) -> ImageCms.ImageCmsTransform | None:
    """Builds the transform from an embedded profile to sRGB or back; returns None if it changes nothing.

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


def _apply(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # only where it is asked to work in place
    return converted


def _orientation(image: Image.Image) -> int:
    """Reads EXIF's orientation: 1 is upright, 2..4 mirrored or upside down, 5..8 rotated by 90 degrees."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF does not affect the pixels
        return 1
    return orientation if orientation in range(1, 9) else 1


def _description(image: Image.Image, width: int, height: int) -> bytes:
    """Returns the file's EXIF for an upright picture of this size, without the tags of a TIFF's layout."""
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
    except Exception:  # damaged EXIF is dropped
        return b""


def _directories(exif: bytes) -> bool:
    """Returns True if EXIF holds more than a picture's main directory."""
    read = Image.Exif()
    read.load(exif)
    return any(map(read.get_ifd, _DIRECTORIES))


def _srgb_profile() -> bytes:
    """Returns Little CMS's sRGB profile without its date (ICC.1, 7.2.8), so that equal inputs give equal files."""
    profile = bytearray(_SRGB.tobytes())
    profile[24:36] = bytes(12)
    return bytes(profile)


_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_SRGB_ICC = _srgb_profile()
# TIFF 6.0's tags of the samples' storage, the ICC profile, and XMP, which repeats the orientation.
_LAYOUT_TAGS = {*range(254, 269), 273, 277, 278, 279, 284, *range(288, 294), 301, 317, *range(320, 326), 330, 332, 338}
_LAYOUT_TAGS |= {339, *range(340, 350), *range(512, 522), 529, 530, 531, 532, 700, 34377, 34675}
_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
