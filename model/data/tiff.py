"""Samples of gray and RGB TIFF files at every depth and byte order; Pillow reads only some of them right.

libtiff decompresses the rows as bytes: a copy of the file gets a directory that describes a gray picture of 8
bits. Then the samples are taken from the bytes here.
"""

import io
import math
import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory

from model.data.samples import Samples, scaled, unpacked

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"MM*\0", b"II\0*")
MAX_PAGES = 10_000
MAX_TAGS = 500_000
"""Most tags of all directories, which may overlap."""
MAX_READ = 1 << 30
"""Most bytes that are read for the tags of all directories, or for the strips or tiles of a picture."""
MAX_TILE = 32 << 20
"""Most bytes of an unpacked tile."""
MAX_CHANNELS = 8

_MAX_NUMBERS, _MAX_LONG = 64 << 10, 4 << 20  # bytes of a tag of numbers; a longer one is passed by
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _CHANNELS, _STRIP_ROWS, _STRIP_SIZES, _PLANAR, _PREDICTOR = 273, 277, 278, 279, 284, 317
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_SIZES = 322, 323, 324, 325
_LONG = {_STRIP_OFFSETS, _STRIP_SIZES, _TILE_OFFSETS, _TILE_SIZES, 33723}  # the last one is IPTC's, often as LONG
_BYTES = {1, 2, 7}  # types of tags whose content stays bytes or text
_SUBFILE, _SUB_DIRECTORIES, _EXTRA, _FORMAT, _DNG = 254, 330, 338, 339, 50706
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _CFA, _LINEAR_RAW = 0, 1, 2, 32803, 34892
_LOSSLESS = {1: "none", 5: "LZW", 8: "Deflate", 32946: "Deflate", 32773: "PackBits", 50000: "Zstandard", 34925: "LZMA"}
_NOT_A_PAGE = 0b101  # bits of NewSubfileType: a thumbnail, a transparency mask
_FORMATS = {2: "signed integers", 3: "floats", 4: "of an undefined kind", 5: "complex integers", 6: "complex floats"}
_DETAILS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_ALPHA = {1: "associated", 2: "unassociated"}


def directories(content: bytes) -> list[Directory]:
    """Returns the directory of every picture of a TIFF file in their order, thumbnails and masks included.

    Raises:
        ValueError: the file has no readable directory, or more than `MAX_PAGES`, or `MAX_TAGS`, or several pages share
            their tags' content.
    """
    file = io.BytesIO(content)
    found: list[Directory] = []
    seen: set[int] = set()
    kept: dict[bytes, bytes] = {}  # pages may share a profile
    after, tags, read, size = _empty(content).next, 0, 0, 0
    while after and after not in seen:
        if len(found) == MAX_PAGES:
            raise ValueError(f"a TIFF of more than {MAX_PAGES} pages")
        seen.add(after)
        tags += _count(content, after)
        if tags > MAX_TAGS:
            raise ValueError(f"a TIFF of more than {MAX_TAGS} tags")
        directory = _loaded(content, file, after)
        for tag, data in directory._tagdata.items():
            read += len(data)
            size += len(data) if data not in kept else 0
            directory._tagdata[tag] = kept.setdefault(data, data)
        if size > len(content) or read > MAX_READ:
            raise ValueError("a TIFF whose tags overlap")
        if _WIDTH not in directory or _LENGTH not in directory:
            break
        found.append(directory)
        after = directory.next
    if not found:
        raise ValueError("a TIFF without a readable directory")
    return found


def exif(content: bytes, directory: Directory) -> Image.Exif:
    """Returns the tags of a picture as EXIF, with the directories of EXIF and GPS."""
    made = Image.Exif()
    for tag in directory:
        if tag not in _DETAILS:
            made[tag] = directory[tag]
    for tag in _DETAILS:
        if isinstance(place := directory.get(tag), int) and _count(content, place) <= MAX_TAGS:
            made.get_ifd(tag).update(_loaded(content, io.BytesIO(content), place, tag))
    return made


def page_numbers(found: list[Directory]) -> list[int]:
    """Returns the indices of the pages among the directories: all but thumbnails and masks, or the first."""
    pages = [number for number, one in enumerate(found) if not _subfile(one) & _NOT_A_PAGE]
    return pages or [0]


def reason_to_refuse(found: list[Directory]) -> str | None:
    """Returns why the pictures of a file cannot be colored, or None."""
    first = found[0]
    thumbnail = _subfile(first) & 1 and _SUB_DIRECTORIES in first
    if _DNG in first or thumbnail or any(_photometric(one) in (_CFA, _LINEAR_RAW) for one in found):
        return "raw"
    if _photometric(first) in (_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB):
        for number in first.get(_FORMAT, ()):
            if number in _FORMATS:
                return f"a TIFF whose samples are {_FORMATS[number]}; save it with unsigned integers of 8 or 16 bits"
    return None


def deepest(content: bytes) -> int:
    """Returns the most bytes of a pixel among the pictures whose samples have more than 8 bits; 0 without any."""
    try:
        bits = [(max(one.get(_BITS, (1,))), _channels(one)) for one in directories(content)]
    except (TypeError, ValueError):  # damaged
        return 4 * MAX_CHANNELS
    return max((math.ceil(depth * min(channels, MAX_CHANNELS) / 8) for depth, channels in bits if depth > 8), default=0)


def kind(directory: Directory) -> str:
    """Returns a description of a picture for an error: bits, photometric interpretation and compression."""
    bits = "+".join(map(str, directory.get(_BITS, (1,))))
    compression = directory.get(_COMPRESSION, 1)
    return f"a TIFF of {bits} bits, photometric interpretation {_photometric(directory)}, compression {compression}"


def reads(directory: Directory) -> bool:
    """Tells whether `read` takes this picture: gray or RGB, losslessly compressed, of equal and unsigned samples."""
    bits = set(directory.get(_BITS, (1,)))
    return (
        _photometric(directory) in (_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB)
        and directory.get(_COMPRESSION, 1) in _LOSSLESS
        and len(bits) == 1
        and min(bits) in (*range(1, 17), 32)
        and set(directory.get(_FORMAT, (1,))) == {1}
        and _colors(directory) <= _channels(directory) <= MAX_CHANNELS
    )


def check(directory: Directory) -> None:
    """Checks that a picture does not take much more time or memory than its pixels do.

    Raises:
        ValueError: a tile is larger than `MAX_TILE`, or strips or tiles overlap.
    """
    tile = int(directory.get(_TILE_WIDTH, 0)) * int(directory.get(_TILE_LENGTH, 0))
    if tile * _channels(directory) * max(directory.get(_BITS, (1,))) > 8 * MAX_TILE:
        raise ValueError(f"a TIFF whose tiles have more than {MAX_TILE} bytes")
    for tag in (_STRIP_SIZES, _TILE_SIZES):
        if sum(directory.get(tag, ())) > MAX_READ:
            raise ValueError("a TIFF whose strips or tiles overlap")


def read(content: bytes, directory: Directory) -> tuple[Samples, str]:
    """Reads a picture for which `reads` holds.

    Returns:
        The samples of 1 or 3 colors, and of alpha if there is one; "associated", "unassociated" or "" for alpha.

    Raises:
        Exception: nearly any, if the file is damaged.
    """
    channels, colors = _channels(directory), _colors(directory)
    planes = channels if directory.get(_PLANAR, 1) == 2 and channels > 1 else 1
    found = [_plane(content, directory, plane, planes, channels // planes) for plane in range(planes)]
    samples = found[0] if planes == 1 else np.concatenate(found, axis=2)
    if _photometric(directory) == _MIN_IS_WHITE:
        samples = np.concatenate((~samples[..., :colors], samples[..., colors:]), axis=2)
    extra = directory.get(_EXTRA, (2,) if colors == 3 and channels == 4 else ())
    alpha = _ALPHA.get(extra[0], "") if extra and channels > colors else ""
    return samples[..., : colors + bool(alpha)], alpha


def _empty(content: bytes, group: int | None = None) -> Directory:
    """Returns a directory without tags that reads those of this file.

    Pillow takes a big-endian BigTIFF for a TIFF, so the header of a little-endian one is given with the byte order.
    """
    if b"+" in content[2:4]:
        return Directory(b"II+\0" + content[4:16], prefix=content[:2], group=group)
    return Directory(content[:8], group=group)


def _count(content: bytes, place: int) -> int:
    """Returns the number of tags that a directory says it has."""
    word = 8 if b"+" in content[2:4] else 2
    return int.from_bytes(content[place : place + word], "little" if content[:2] == b"II" else "big")


def _loaded(content: bytes, file: io.BytesIO, place: int, group: int | None = None) -> Directory:
    """Reads a directory, without long tags of numbers, which would become many objects."""
    directory = _empty(content, group)
    file.seek(place)
    directory.load(file)
    for tag, data in list(directory._tagdata.items()):
        most = _MAX_LONG if tag in _LONG else _MAX_NUMBERS
        if directory.tagtype[tag] not in _BYTES and len(data) > most:
            del directory._tagdata[tag]
    return directory


def _plane(content: bytes, directory: Directory, plane: int, planes: int, channels: int) -> Samples:
    """Returns the samples of all channels, or of the one channel of a plane: (H, W, channels)."""
    width, height, bits = directory[_WIDTH], directory[_LENGTH], directory.get(_BITS, (1,))[0]
    rows = _rows(content, directory, plane, planes, channels * bits)
    differences = directory.get(_PREDICTOR, 1) == 2 and directory.get(_COMPRESSION, 1) not in (1, 32773)
    if differences and bits not in (8, 16, 32):
        raise ValueError(f"{kind(directory)} with a predictor, which is not supported")
    if bits in (8, 16, 32):
        order = "<" if directory.prefix == b"II" else ">"
        samples = np.ascontiguousarray(rows).view(f"{order}u{bits // 8}").astype(f"=u{bits // 8}", copy=False)
    else:
        samples = unpacked(rows, bits, width * channels)
    samples = samples.reshape(height, width, channels)
    if differences:
        across = directory.get(_TILE_WIDTH, width)
        parts = [samples[:, left : left + across] for left in range(0, width, across)]
        samples = np.concatenate([np.cumsum(part, axis=1, dtype=samples.dtype) for part in parts], axis=1)
    return scaled(samples, bits)


def _rows(content: bytes, directory: Directory, plane: int, planes: int, pixel_bits: int) -> NDArray[np.uint8]:
    """Returns the decompressed rows of a plane: (H, bytes of a row)."""
    if len(content) >= 1 << 32:
        raise ValueError("a TIFF of more than 4 GiB")
    width, height = directory[_WIDTH], directory[_LENGTH]
    made = {
        _WIDTH: (math.ceil(width * pixel_bits / 8),),
        _LENGTH: (height,),
        _BITS: (8,),
        _COMPRESSION: (directory.get(_COMPRESSION, 1),),
        _PHOTOMETRIC: (_MIN_IS_BLACK,),
        _FILL_ORDER: (directory.get(_FILL_ORDER, 1),),
        _CHANNELS: (1,),
    }
    if _TILE_WIDTH in directory:
        made[_TILE_WIDTH] = (math.ceil(directory[_TILE_WIDTH] * pixel_bits / 8),)
        made[_TILE_LENGTH] = (directory[_TILE_LENGTH],)
        tables = (_TILE_OFFSETS, _TILE_SIZES)
    else:
        made[_STRIP_ROWS] = (min(directory.get(_STRIP_ROWS, height), height),)
        tables = (_STRIP_OFFSETS, _STRIP_SIZES)
    for tag in tables:
        values = directory.get(tag) or (made[_WIDTH][0] * height,)
        count = len(values) // planes
        made[tag] = values[plane * count : (plane + 1) * count]
    padding = bytes(len(content) % 2)
    offset = len(content) + len(padding)
    parts = b"II*\0", offset.to_bytes(4, "little"), content[8:], padding, _directory(made, offset)
    with TiffImagePlugin.TiffImageFile(io.BytesIO(b"".join(parts))) as image:
        image.load()
        return np.asarray(image)


def _directory(tags: Mapping[int, Sequence[int]], offset: int) -> bytes:
    """Returns a directory of LONG values for a little-endian TIFF, to stand at `offset`."""
    beyond = offset + 2 + 12 * len(tags) + 4
    entries, long = [struct.pack("<H", len(tags))], b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            packed, long = struct.pack("<I", beyond + len(long)), long + packed
        entries.append(struct.pack("<HHI", tag, 4, len(values)) + packed)
    return b"".join((*entries, bytes(4), long))


def _subfile(directory: Directory) -> int:
    """Returns the bits that tell thumbnails and masks; what is no number counts as 0."""
    bits = directory.get(_SUBFILE, 0)
    return bits if isinstance(bits, int) else 0


def _photometric(directory: Directory) -> int:
    """Returns the photometric interpretation; without the tag, as libtiff: RGB for three channels, else black is 0."""
    return int(directory.get(_PHOTOMETRIC, _RGB if _channels(directory) >= 3 else _MIN_IS_BLACK))


def _channels(directory: Directory) -> int:
    return int(directory.get(_CHANNELS, 1))


def _colors(directory: Directory) -> int:
    return 3 if _photometric(directory) == _RGB else 1
