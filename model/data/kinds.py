"""Formats of photographs: what is opened, what a colored one is written as, and what is refused with advice."""

from pathlib import PurePath
from typing import NamedTuple

try:
    import pillow_heif
except ImportError:  # the package has no wheel for some machines
    pillow_heif = None  # type: ignore[assignment]


class Written(NamedTuple):
    """Describes the file that a colored photograph becomes."""

    format: str
    """Pillow's name."""
    suffix: str
    media_type: str
    deep: bool = False
    """True if it keeps samples of 16 bits."""


_JPEG = Written("JPEG", ".jpg", "image/jpeg")
_TIFF = Written("TIFF", ".tif", "image/tiff", deep=True)

WRITTEN = {
    "JPEG": _JPEG,
    "PNG": Written("PNG", ".png", "image/png", deep=True),
    "WEBP": Written("WEBP", ".webp", "image/webp"),
    "TIFF": _TIFF,
    "BMP": Written("BMP", ".bmp", "image/bmp"),
    "GIF": _JPEG,  # it holds too few colors
    "HEIF": _JPEG,  # every program shows it
    "AVIF": _JPEG,
    "JPEG2000": _TIFF,  # lossless, as most archives' files are
}
"""Colored file of each format, by Pillow's name of it."""

FORMATS = tuple(WRITTEN)
NAMES = "JPEG, PNG, WebP, TIFF, BMP, GIF, HEIC, AVIF or JPEG 2000"

MEDIA_TYPES = {
    "image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP", "image/tiff": "TIFF", "image/bmp": "BMP",
    "image/gif": "GIF", "image/heic": "HEIF", "image/heif": "HEIF", "image/avif": "AVIF", "image/jp2": "JPEG2000",
}  # fmt: skip
"""Format of each media type that a browser sends."""

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif",
    ".heic", ".heif", ".hif", ".avif", ".jp2", ".j2k", ".jpf", ".jpx",
)  # fmt: skip
"""Suffixes of photographs, in lower case."""

RAW_SUFFIXES = (
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw",
    ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw", ".x3f",
)  # fmt: skip
"""Suffixes of cameras' raw files, in lower case."""

RAW = "a camera's raw file; develop it first, with darktable or RawTherapee, and color the TIFF or JPEG that it makes"
_NO_HEIC = "a HEIC file, which needs the package pillow-heif: pip install pillow-heif"
_HEIC_SUFFIXES = (".heic", ".heif", ".hif")
_RAW_STARTS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"\0MRM", b"FOVb")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

if pillow_heif is not None:
    pillow_heif.register_heif_opener()


def reason_to_refuse(content: bytes, name: str) -> str | None:
    """Returns why a file is not opened, from its first bytes and its name: a raw file, or HEIC without its package."""
    if content.startswith(_RAW_STARTS) or content[4:12] == b"ftypcrx " or content[8:10] == b"CR":
        return RAW
    if pillow_heif is None and content[4:8] == b"ftyp" and content[8:12] in _HEIC_BRANDS:
        return _NO_HEIC
    return advice(name)


def advice(name: str) -> str | None:
    """Returns why a file of this name is not opened: raw, or HEIC without its package; None for other names."""
    suffix = PurePath(name).suffix.lower()
    if suffix in RAW_SUFFIXES:
        return RAW
    return _NO_HEIC if pillow_heif is None and suffix in _HEIC_SUFFIXES else None
