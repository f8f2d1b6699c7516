"""Decoding of image files to upright sRGB pixels; `model.data.encoding` writes them.

It imports Pillow, pillow-heif and NumPy alone, so that a process that only decodes starts quickly.
"""

import io
import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from model.data import jpeg, kinds, metadata, pixels, png, tiff
from model.data.metadata import Metadata
from model.data.pixels import Deep
from model.data.samples import Samples
from model.utils.errors import UserError

MAX_PIXELS = 89_478_485
"""Pillow's own limit between a photograph and a decompression bomb: 256 MiB of RGB."""

MAX_BYTES = 1 << 30
"""Largest file that is read: no photograph of `MAX_PIXELS` is larger."""

# decode() itself refuses too many pixels; Pillow's other warnings are about damaged metadata, which is dropped.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


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
    """Format of the file, as Pillow names it: JPEG, PNG, WEBP, TIFF, BMP, GIF, HEIF, AVIF or JPEG2000."""
    icc: bytes
    """Profile that `encode` embeds: the file's own RGB profile, sRGB's instead of a gray or CMYK profile, or empty if
    the file has none."""
    metadata: Metadata = field(default=Metadata())
    """Rest of what the file says; empty if `decode` had a `min_side`."""
    deep: Deep | None = None
    """sRGB of 16 bits, (H, W) gray or (H, W, 3), of a file with samples of more than 8 bits."""
    alpha: Samples | None = None
    """(H, W) opacity, if `decode` kept it."""
    pages: int = 1
    """Number of pages of a TIFF."""

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """Returns the image as (H, W, 3) uint8 sRGB."""
        return np.asarray(self.image)

    @property
    def pixels(self) -> Samples:
        """Returns the image at the depth of its file: (H, W, 3) sRGB, uint8 or uint16."""
        if self.deep is None:
            return self.rgb
        return self.deep if self.deep.ndim == 3 else np.broadcast_to(self.deep[..., None], (*self.deep.shape, 3))

    @property
    def suffix(self) -> str:
        """Returns the suffix of the file that `encode` writes, such as ".jpg"."""
        return kinds.WRITTEN[self.format].suffix

    @property
    def media_type(self) -> str:
        """Returns the media type of that file."""
        return kinds.WRITTEN[self.format].media_type


def decode(
    source: Path | bytes,
    *,
    min_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
    page: int = 1,
    keep_alpha: bool = False,
) -> Photograph:
    """Reads a photograph of one of `kinds.FORMATS` (the first frame, or a page of a TIFF) as upright sRGB.

    Grayscale, palette and CMYK files are converted; samples of other than 8 bits are scaled. Transparent pixels are
    blended with white. An embedded ICC profile is applied (relative colorimetric, black point compensation), or the
    gAMA of a PNG without one. A profile that is broken or belongs to another kind of image is ignored, as browsers do:
    the pixels then count as sRGB. `docs/reference/kinds.md` lists what is read.

    Args:
        source: a file, or its content.
        min_side: decodes a JPEG at 1/2, 1/4 or 1/8 of its size if its short side stays at least this long, which is
            several times faster if it is scaled down afterwards. Other formats are decoded at full size. Of the
            metadata, only the orientation is read.
        max_pixels: largest number of pixels; a file that declares more is refused before it is decoded.
        page: page of a TIFF, from 1.
        keep_alpha: keeps transparent pixels as they are, with their opacity in `alpha`.

    Raises:
        FormatError: the file has another format.
        TooLargeError: the file has more pixels than allowed.
        ImageError: the file is missing, truncated or damaged, or of a kind that is not supported.
        MemoryError: there is not enough memory.
    """
    name = str(source) if isinstance(source, Path) else "image"
    try:
        content = _content(source, name) if isinstance(source, Path) else source
        if (reason := kinds.reason_to_refuse(content, name)) is not None:
            raise FormatError(name, reason)
        reading = _Reading(name, content, min_side, max_pixels, keep_alpha)
        return reading.tiff(page) if content.startswith(tiff.MAGIC) else reading.other()
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise FormatError(name, f"not a {kinds.NAMES} file") from None
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


def _content(path: Path, name: str) -> bytes:
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ImageError(name, f"{size} bytes, more than the limit of {MAX_BYTES}")
    return path.read_bytes()


@dataclass(frozen=True)
class _Reading:
    """Reads one file; its fields are the arguments of `decode`."""

    name: str
    content: bytes
    min_side: int | None
    max_pixels: int
    keep_alpha: bool

    def tiff(self, page: int) -> Photograph:
        """Reads a page of a TIFF."""
        found = tiff.directories(self.content)
        if (reason := tiff.reason_to_refuse(found)) is not None:
            raise ImageError(self.name, kinds.RAW if reason == "raw" else reason)
        pages = tiff.page_numbers(found)
        if not 1 <= page <= len(pages):
            raise ImageError(self.name, f"there is no page {page}: it has {len(pages)}")
        directory = found[pages[page - 1]]
        self._check_size(directory[256], directory[257])
        tiff.check(directory)
        exif = tiff.exif(self.content, directory)
        if tiff.reads(directory):
            samples, alpha = tiff.read(self.content, directory)
            picture = pixels.upright(pixels.from_samples(samples, alpha), metadata.orientation(exif))
        else:
            picture = self._by_pillow(pages[page - 1], directory)
        said = Metadata() if self.min_side else metadata.of_directory(exif, directory, *pixels.size(picture))
        photograph = self._finished(picture, pixels.size(picture), "TIFF", directory.get(34675, b""), said)
        return replace(photograph, pages=len(pages))

    def other(self) -> Photograph:
        """Reads a file of another format than TIFF."""
        described = png.clean(self.content) if self.content.startswith(png.SIGNATURE) else None
        content = jpeg.clean(self.content) if self.content.startswith(jpeg.SIGNATURE) else self.content
        content = described.content if described is not None else content
        with Image.open(io.BytesIO(content), formats=kinds.FORMATS) as image:
            self._check_size(*image.size)
            if len(image.info.get("exif") or b"") > metadata.MAX_EXIF:
                del image.info["exif"]
            file_format = "JPEG" if image.format == "MPO" else str(image.format)  # a JPEG followed by more pictures
            icc, turn = image.info.get("icc_profile") or b"", metadata.orientation_of(image)
            whole = image.size[::-1] if turn >= 5 else image.size
            if self.min_side is not None:
                image.draft(None, (self.min_side, self.min_side))
            said = Metadata() if self.min_side else metadata.of_image(image, *whole)
            image.load()
            picture: pixels.Picture = image
            if described is not None and described.transparent and described.depth < 8:
                # Pillow scales the samples to 8 bits, and this color not.
                image.info["transparency"] = described.transparent[0] * 255 // ((1 << described.depth) - 1)
            if described is not None and described.deep:
                samples = png.deep_samples(described, image)
                alpha = "unassociated" if samples.shape[2] in (2, 4) else ""
                picture = pixels.from_samples(samples, alpha, described.transparent)
            elif image.mode.startswith("I;16"):  # JPEG 2000
                picture = np.asarray(image).astype(np.uint16)[..., None]
            said = said.turned() if turn >= 5 else said
            gamma = described.gamma if described is not None else None
            return self._finished(pixels.upright(picture, turn), whole, file_format, icc, said, gamma)

    def _by_pillow(self, number: int, directory: Any) -> Image.Image:
        """Reads a TIFF's picture whose samples Pillow reads right; Pillow applies the orientation."""
        unsupported = ImageError(self.name, f"{tiff.kind(directory)}, which is not supported")
        try:
            image = Image.open(io.BytesIO(self.content), formats=("TIFF",))
            image.seek(number)
        except (UnidentifiedImageError, SyntaxError):
            raise unsupported from None
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            raise unsupported
        image.load()
        return image

    def _finished(
        self,
        picture: pixels.Picture,
        whole: tuple[int, int],
        file_format: str,
        icc: bytes,
        said: Metadata,
        gamma: float | None = None,
    ) -> Photograph:
        """Converts an upright picture to sRGB."""
        colors, alpha = pixels.opaque(picture, self.keep_alpha)
        if gamma is not None:
            colors = pixels.by_gamma(colors, gamma)
        image, deep, kept = pixels.into_srgb(colors, icc)
        return Photograph(image, *whole, file_format, kept, said, deep, alpha)

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self.max_pixels:
            raise TooLargeError(self.name, self.max_pixels, (width, height))
