"""Metadata of photographs: what a file says besides its pixels, read from any format and written into any."""

import struct
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from model.data import xmp

MAX_EXIF = 1 << 20
"""Most bytes of a file's EXIF; more is passed by, since a number of it can become a hundred bytes in memory."""

_SEGMENT = 65_533
"""Most bytes of a JPEG's segment."""
_MAX_ITEM = 16 << 20  # bytes of EXIF or IPTC; a larger item is dropped
_IPTC_RESOURCE = 0x0404  # Photoshop's image resource that holds IPTC's records
_IPTC_TAG, _RESOURCES_TAG, _XMP_TAG, _ICC_TAG = 33723, 34377, 700, 34675
_XMP_KEY = "XML:com.adobe.xmp"
_COPIES = ("raw profile type exif", "raw profile type app1", "raw profile type xmp", "raw profile type icc")
_X_RESOLUTION, _UNIT = 282, 296
# TIFF 6.0's tags of the samples' storage, and what this module keeps apart: IPTC, Photoshop's resources, profile, XMP.
_LAYOUT_TAGS = {*range(254, 269), 273, 277, 278, 279, 284, *range(288, 294), 301, 317, *range(320, 326), 330, 332, 338}
_LAYOUT_TAGS |= {339, 280, 281, *range(340, 350), *range(512, 522), 529, 530, 531, 532}
_LAYOUT_TAGS |= {_XMP_TAG, _IPTC_TAG, _RESOURCES_TAG, _ICC_TAG}
_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)


@dataclass(frozen=True)
class Metadata:
    """Holds what a photograph's file says besides its pixels and its profile."""

    exif: bytes = b""
    """EXIF with orientation 1, without thumbnail; empty if it is missing or unreadable."""
    xmp: bytes = b""
    """XMP packet as it stood in the file."""
    iptc: bytes = b""
    """Records of IPTC-IIM."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch, across and down."""
    comment: bytes = b""
    """Comment of a JPEG or GIF."""
    texts: tuple[tuple[str, str], ...] = field(default=())
    """Keywords and texts of a PNG."""

    def turned(self) -> "Metadata":
        """Returns the metadata of the same picture turned by 90 degrees: the resolutions change places."""
        return self if self.dpi is None else replace(self, dpi=self.dpi[::-1])


def of_image(image: Image.Image, width: int, height: int) -> Metadata:
    """Reads the metadata of an opened file, before its pixels.

    Args:
        image: the file as Pillow opens it.
        width: width of the upright picture, which EXIF repeats.
        height: its height.
    """
    info = image.info
    packet = info.get("xmp") or b""
    dpi = info.get("dpi")
    known = "exif" in info and dpi == (72, 72)  # Pillow's own guess for a JPEG without a resolution
    return Metadata(
        exif=upright_exif(image, width, height),
        xmp=packet.encode() if isinstance(packet, str) else bytes(packet),
        iptc=_iptc(info.get("photoshop", {}).get(_IPTC_RESOURCE)),
        dpi=_resolution(dpi) if not known or info.get("jfif_unit") else None,
        comment=_comment(info.get("comment")),
        texts=_texts(image),
    )


def of_directory(exif: Image.Exif, directory: ImageFileDirectory_v2, width: int, height: int) -> Metadata:
    """Reads the metadata of a TIFF's picture."""
    packet = directory.get(_XMP_TAG, b"")
    records = directory._tagdata.get(_IPTC_TAG, b"")  # many programs call them LONG, of which Pillow gives the first
    if not records.startswith(b"\x1c"):
        records = b"".join(records[at : at + 4][::-1] for at in range(0, len(records), 4))
    return Metadata(
        exif=_upright(exif, width, height),
        xmp=packet if isinstance(packet, bytes) else bytes(packet),
        iptc=_iptc(records),
    )


def orientation(exif: Image.Exif) -> int:
    """Reads EXIF's orientation: 1 is upright, 2..4 mirrored or upside down, 5..8 rotated by 90 degrees."""
    try:
        found = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF does not affect the pixels
        return 1
    return found if found in range(1, 9) else 1


def orientation_of(image: Image.Image) -> int:
    """Reads the orientation of an opened file."""
    try:
        return orientation(image.getexif())
    except Exception:
        return 1


def upright_exif(image: Image.Image, width: int, height: int) -> bytes:
    """Returns a file's EXIF for an upright picture of this size, without the tags of a TIFF's layout."""
    try:
        return _upright(image.getexif(), width, height)
    except Exception:  # damaged EXIF is dropped
        return b""


def packet(metadata: Metadata, width: int, height: int, mark: xmp.Mark | None, most: int | None = None) -> bytes:
    """Returns the XMP packet to write; one that exceeds `most` bytes shrinks to the mark."""
    whole = xmp.written(metadata.xmp, width, height, mark)
    return whole if most is None or len(whole) <= most else xmp.written(b"", width, height, mark)


def for_pillow(metadata: Metadata, file_format: str, width: int, height: int, mark: xmp.Mark | None) -> dict[str, Any]:
    """Returns the options of Pillow's `save` that write this metadata into a JPEG, PNG or WebP."""
    options: dict[str, Any] = {"exif": metadata.exif} if metadata.exif else {}
    if file_format == "JPEG":
        if len(metadata.exif) > _SEGMENT:
            del options["exif"]
        options["xmp"] = packet(metadata, width, height, mark, _SEGMENT - 29)
        options["extra"] = _photoshop_segment(metadata.iptc)
        if metadata.comment:
            options["comment"] = metadata.comment[:_SEGMENT]
    elif file_format == "PNG":
        options["pnginfo"] = _png_texts(metadata, packet(metadata, width, height, mark))
    elif file_format == "WEBP":
        options["xmp"] = packet(metadata, width, height, mark)
    if metadata.dpi and file_format in ("JPEG", "PNG"):
        options["dpi"] = metadata.dpi
    return options


def for_tiff(metadata: Metadata, width: int, height: int, mark: xmp.Mark | None) -> ImageFileDirectory_v2:
    """Returns a TIFF's directory that holds this metadata."""
    directory = ImageFileDirectory_v2()
    exif = Image.Exif()
    exif.load(metadata.exif)
    for tag in exif.keys() - set(_DIRECTORIES):
        directory[tag] = exif[tag]
    for tag in _DIRECTORIES:
        if details := exif.get_ifd(tag):
            directory[tag] = dict(details)
            directory.tagtype[tag] = 4
    if metadata.dpi and _X_RESOLUTION not in directory:
        directory[_X_RESOLUTION], directory[_X_RESOLUTION + 1] = metadata.dpi
        directory[_UNIT] = 2
    for tag, content in ((_XMP_TAG, packet(metadata, width, height, mark)), (_IPTC_TAG, metadata.iptc)):
        if content:
            directory.tagtype[tag] = 1 if tag == _XMP_TAG else 7
            directory[tag] = content
    return directory


def _upright(found: Image.Exif, width: int, height: int) -> bytes:
    """Returns EXIF for the upright picture; empty if it is damaged or says nothing."""
    try:
        turned, exif = orientation(found) >= 5, Image.Exif()
        for tag in found.keys() - _LAYOUT_TAGS - set(_DIRECTORIES):
            exif[tag] = found[tag]
        if turned and {_X_RESOLUTION, _X_RESOLUTION + 1} <= exif.keys():
            exif[_X_RESOLUTION], exif[_X_RESOLUTION + 1] = exif[_X_RESOLUTION + 1], exif[_X_RESOLUTION]
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
        content = exif.tobytes()
    except Exception:
        return b""
    return content if len(content) <= _MAX_ITEM else b""


def _resolution(dpi: Any) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    # 1 dpi and less is how programs write "unknown"; 65535 is the most that a JPEG holds.
    return (across, down) if 1 < across <= 65535 and 1 < down <= 65535 else None


def _iptc(records: Any) -> bytes:
    return records if isinstance(records, bytes) and records[:1] == b"\x1c" and len(records) <= _MAX_ITEM else b""


def _comment(comment: Any) -> bytes:
    return comment.encode() if isinstance(comment, str) else comment if isinstance(comment, bytes) else b""


def _texts(image: Image.Image) -> tuple[tuple[str, str], ...]:
    """Returns the texts of a PNG, but for XMP and copies of EXIF, which tell of the picture before it was turned."""
    if not isinstance(image, PngImagePlugin.PngImageFile):
        return ()
    found = image.text.items()
    return tuple((str(k), str(v)) for k, v in found if k != _XMP_KEY and k.lower() not in _COPIES)


def _png_texts(metadata: Metadata, packet: bytes) -> PngImagePlugin.PngInfo:
    texts = PngImagePlugin.PngInfo()
    if packet:
        texts.add_itxt(_XMP_KEY, packet.decode())
    for keyword, text in metadata.texts:
        texts.add_text(keyword, text, zip=len(text) > 1024)
    return texts


def _photoshop_segment(iptc: bytes) -> bytes:
    """Returns a JPEG's segment APP13 with IPTC's records, empty without them."""
    resource = struct.pack(">4sHHI", b"8BIM", _IPTC_RESOURCE, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)
    body = b"Photoshop 3.0\0" + resource
    return struct.pack(">HH", 0xFFED, len(body) + 2) + body if iptc and len(body) <= _SEGMENT else b""
