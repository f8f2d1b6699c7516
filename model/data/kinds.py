"""Formats of photographs: what is opened, what a colored one is written as, and what is refused with advice."""

from pathlib import PurePath
from typing import NamedTuple

from PIL import features

try:
    import pillow_heif
except ImportError:  # the package has no wheel for some machines
    pillow_heif = None  # type: ignore[assignment]

SOURCES = "SOURCES.csv"
"""Optional table of the photographs' sources: columns file and licence; other columns are ignored."""


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

JPEG_2000 = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
"""First bytes of JPEG 2000, in a file of boxes and as a bare codestream."""

RAW = "a camera's raw file; develop it first, with darktable or RawTherapee, and color the TIFF or JPEG that it makes"
MISSING: dict[str, str] = {}
"""Reason why a format cannot be read on this machine, by Pillow's name of it."""
_SUFFIXES = {
    ".heic": "HEIF", ".heif": "HEIF", ".hif": "HEIF", ".avif": "AVIF",
    ".jp2": "JPEG2000", ".j2k": "JPEG2000", ".jpf": "JPEG2000", ".jpx": "JPEG2000",
}  # fmt: skip
_RAW_STARTS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"\0MRM", b"FOVb")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

if pillow_heif is not None:
    pillow_heif.register_heif_opener()
else:
    MISSING["HEIF"] = "a HEIC file, which needs the package pillow-heif: pip install pillow-heif"
for _name, _feature in (("AVIF", "avif"), ("JPEG2000", "jpg_2000")):
    if not features.check(_feature):
        MISSING[_name] = f"a file of the format {_name}, which this build of Pillow cannot read; install Pillow's wheel"


def reason_to_refuse(content: bytes, name: str) -> str | None:
    """Returns why a file is not opened, from its first bytes and its name: raw, or of a format that is missing here."""
    if content.startswith(_RAW_STARTS) or content[4:12] == b"ftypcrx " or content[8:10] == b"CR":
        return RAW
    return MISSING.get(_format(content)) or advice(name)


def advice(name: str) -> str | None:
    """Returns why a file of this name is not opened: raw, or of a format that is missing here; None for other names."""
    suffix = PurePath(name).suffix.lower()
    return RAW if suffix in RAW_SUFFIXES else MISSING.get(_SUFFIXES.get(suffix, ""))


def _format(content: bytes) -> str:
    """Returns Pillow's name of a format that a machine may lack, from a file's first bytes; empty for others."""
    if content[4:8] == b"ftyp":
        brand = content[8:12]
        return "AVIF" if brand in (b"avif", b"avis") else "HEIF" if brand in _HEIC_BRANDS else ""
    return "JPEG2000" if content.startswith(JPEG_2000) else ""
