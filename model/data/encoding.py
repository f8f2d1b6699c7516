"""Encoding of pixels as a file like the one of a decoded photograph, with what that file says besides."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from model.data import kinds, metadata, png, profiles, tiff_writer
from model.data.images import ImageError, Photograph
from model.data.pixels import eight_bits
from model.data.samples import Samples
from model.data.xmp import Mark


def encode(samples: Samples, like: Photograph, mark: Mark | None = None) -> bytes:
    """Returns the content of a file with these pixels and with the format, metadata and ICC profile of `like`.

    If the profile belongs to another RGB space, the pixels are converted into it. A GIF, HEIC or AVIF becomes a JPEG, a
    JPEG 2000 a TIFF. JPEG has quality 95 without chroma subsampling, WebP has quality 95, TIFF has lossless
    compression. BMP holds no metadata. EXIF that cannot be written is left out.

    Args:
        samples: (H, W, 3) sRGB, upright, uint8; or uint16, which a PNG or TIFF keeps and other formats round.
        like: the result of `decode` whose format, metadata, profile and opacity are used.
        mark: what colored the photograph, to mark it in XMP; None does not mark it.

    Raises:
        ImageError: the format cannot hold the picture, such as a WebP with a side above 16383 pixels.
        ValueError: `samples` has another shape or dtype.
    """
    if samples.dtype not in (np.uint8, np.uint16) or samples.ndim != 3 or samples.shape[2] != 3:
        raise ValueError(f"need (H, W, 3) uint8 or uint16, got {samples.shape} {samples.dtype}")
    written = kinds.WRITTEN[like.format]
    if samples.dtype == np.uint16 and not written.deep:
        return encode(eight_bits(samples), like, mark)
    try:
        return _encoded(samples, like, mark, written.format)
    except MemoryError:
        raise
    except Exception as error:  # EXIF that was read can still make an encoder raise nearly anything
        if like.metadata.exif:
            return encode(samples, replace(like, metadata=replace(like.metadata, exif=b"")), mark)
        raise ImageError("image", f"cannot be written as {written.format}: {error}") from None


class Pages:
    """Collects colored pages and writes them as one TIFF."""

    def __init__(self, mark: Mark | None = None) -> None:
        self._writer, self._mark = tiff_writer.Writer(), mark

    def add(self, samples: Samples, like: Photograph) -> None:
        """Adds a page; the arguments are those of `encode`.

        Raises:
            ValueError: the file would exceed 4 GiB.
        """
        height, width = samples.shape[:2]
        colored, icc = _out_of_srgb(samples, like.icc)
        colored = _with_alpha(colored, like)
        try:
            self._writer.add(colored, metadata.for_tiff(like.metadata, width, height, self._mark), icc)
        except MemoryError:
            raise
        except Exception:  # EXIF that was read can still make Pillow raise nearly anything
            plain = replace(like.metadata, exif=b"")
            self._writer.add(colored, metadata.for_tiff(plain, width, height, self._mark), icc)

    def content(self) -> bytes:
        """Returns the file."""
        return self._writer.content()


def _encoded(samples: Samples, like: Photograph, mark: Mark | None, file_format: str) -> bytes:
    height, width = samples.shape[:2]
    if file_format == "TIFF":
        pages = Pages(mark)
        pages.add(samples, like)
        return pages.content()
    samples, icc = _out_of_srgb(samples, like.icc)
    if file_format in ("PNG", "WEBP"):
        samples = _with_alpha(samples, like)
    options: dict[str, Any] = metadata.for_pillow(like.metadata, file_format, width, height, mark)
    options["icc_profile"] = icc or None
    if file_format in ("JPEG", "WEBP"):
        options["quality"] = 95
    if file_format == "JPEG":
        options["subsampling"] = 0
    deep = samples.dtype == np.uint16
    image = Image.new("L", (1, 1)) if deep else Image.fromarray(samples)
    content = io.BytesIO()
    image.save(content, file_format, **options)
    return png.written_deep(samples, content.getvalue()) if deep else content.getvalue()


def _out_of_srgb(samples: Samples, icc: bytes) -> tuple[Samples, bytes]:
    """Converts sRGB to the space of the profile to embed; also returns that profile."""
    if samples.dtype == np.uint16:
        return profiles.deep_out_of_srgb(samples, icc)
    image, kept = profiles.out_of_srgb(Image.fromarray(samples), icc)
    return np.asarray(image), kept


def _with_alpha(samples: Samples, like: Photograph) -> Samples:
    """Adds the opacity that was kept."""
    if like.alpha is None:
        return samples
    alpha = like.alpha if like.alpha.dtype == samples.dtype else eight_bits(like.alpha)
    return np.concatenate((samples, alpha[..., None]), axis=2)
