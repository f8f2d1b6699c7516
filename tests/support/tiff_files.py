"""A writer of TIFF files of every kind, to try the decoder on what cameras, scanners and old programs write."""

import struct
import zlib
from collections.abc import Iterator

import imagecodecs
import numpy as np
from numpy.typing import NDArray

COMPRESSIONS = {
    "none": (1, bytes),
    "LZW": (5, imagecodecs.lzw_encode),
    "Deflate": (8, zlib.compress),
    "PackBits": (32773, imagecodecs.packbits_encode),
    "Zstandard": (50000, imagecodecs.zstd_encode),
}
"""Number and encoder of each compression; PackBits encodes a row at a time."""
PHOTOMETRICS = {"min-is-white": 0, "min-is-black": 1, "RGB": 2}
_SIZES = {1: 1, 2: 1, 4: 4, 5: 8, 7: 1}
STRIP_ROWS = 8
TILE = 16


def tiff(
    pages: list[NDArray[np.unsignedinteger]],
    bits: int,
    photometric: int,
    *,
    order: str = "<",
    compression: str = "none",
    layout: str = "strips",
    predictor: int = 1,
    extra: int | None = None,
    sample_format: int | None = None,
    fill_order: int = 1,
    big: bool = False,
    tags: dict[int, tuple[int, bytes]] | None = None,
) -> bytes:
    """Returns a TIFF.

    Args:
        pages: of each page the samples as they stand in the file, (H, W, channels).
        bits: bits of a sample.
        photometric: number of the photometric interpretation.
        order: byte order, "<" or ">".
        compression: one of `COMPRESSIONS`.
        layout: strips, tiles or planes.
        predictor: 2 stores differences.
        extra: meaning of the last channel.
        sample_format: 2 for signed integers, 3 for floats.
        fill_order: 2 reverses the bits of each byte.
        big: writes a BigTIFF.
        tags: more tags: number -> type and content.
    """
    head = (b"II" if order == "<" else b"MM") + (
        struct.pack(f"{order}HHH", 43, 8, 0) if big else struct.pack(f"{order}H", 42)
    )
    word = "Q" if big else "I"
    content = bytearray(head + bytes(8 if big else 4))
    link = len(head)
    for samples in pages:
        chunks = [
            _encoded(chunk, compression, fill_order) for chunk in _chunks(samples, bits, order, layout, predictor)
        ]
        offsets = []
        for chunk in chunks:
            offsets.append(len(content))
            content += chunk + bytes(len(chunk) % 2)
        height, width, channels = samples.shape
        entries = {
            256: [width], 257: [height], 258: [bits] * channels, 259: [COMPRESSIONS[compression][0]],
            262: [photometric], 266: [fill_order], 277: [channels], 284: [2 if layout == "planes" else 1],
            317: [predictor],
        }  # fmt: skip
        if layout == "tiles":
            entries |= {322: [TILE], 323: [TILE], 324: offsets, 325: [len(chunk) for chunk in chunks]}
        else:
            entries |= {273: offsets, 278: [STRIP_ROWS], 279: [len(chunk) for chunk in chunks]}
        if extra is not None:
            entries[338] = [extra]
        if sample_format is not None:
            entries[339] = [sample_format] * channels
        content[link : link + struct.calcsize(word)] = struct.pack(f"{order}{word}", len(content))
        link = _add_directory(content, entries, tags or {}, order, big)
    return bytes(content)


def _add_directory(
    content: bytearray, entries: dict[int, list[int]], tags: dict[int, tuple[int, bytes]], order: str, big: bool
) -> int:
    """Appends a directory; returns the place of the link to the next one."""
    word, fits = ("Q", 8) if big else ("I", 4)
    fields = {tag: (4, len(values), struct.pack(f"{order}{len(values)}I", *values)) for tag, values in entries.items()}
    fields |= {tag: (kind, len(data) // _SIZES[kind], data) for tag, (kind, data) in tags.items()}
    packed = struct.pack(f"{order}{'Q' if big else 'H'}", len(fields))
    beyond = len(content) + len(packed) + len(fields) * (12 if not big else 20) + struct.calcsize(word)
    long = b""
    for tag, (kind, count, data) in sorted(fields.items()):
        packed += struct.pack(f"{order}HH{word}", tag, kind, count)
        if len(data) <= fits:
            packed += data.ljust(fits, b"\0")
        else:
            packed += struct.pack(f"{order}{word}", beyond + len(long))
            long += data + bytes(len(data) % 2)
    content += packed
    link = len(content)
    content += bytes(struct.calcsize(word)) + long
    return link


def _chunks(samples: NDArray, bits: int, order: str, layout: str, predictor: int) -> Iterator[list[bytes]]:
    """Yields the rows of each strip or tile."""
    height, width, channels = samples.shape
    planes = [samples[..., i : i + 1] for i in range(channels)] if layout == "planes" else [samples]
    for plane in planes:
        if layout == "tiles":
            padded = np.pad(plane, ((0, -height % TILE), (0, -width % TILE), (0, 0)))
            for top in range(0, len(padded), TILE):
                for left in range(0, padded.shape[1], TILE):
                    yield _rows(padded[top : top + TILE, left : left + TILE], bits, order, predictor)
        else:
            for top in range(0, height, STRIP_ROWS):
                yield _rows(plane[top : top + STRIP_ROWS], bits, order, predictor)


def _rows(part: NDArray, bits: int, order: str, predictor: int) -> list[bytes]:
    if bits in (8, 16, 32):
        part = part.astype(f"u{bits // 8}")
        if predictor == 2:
            part = np.concatenate((part[:, :1], part[:, 1:] - part[:, :-1]), axis=1)
        return [row.astype(f"{order}u{bits // 8}").tobytes() for row in part]
    flat = part.reshape(len(part), -1).astype(np.uint32)
    each = (flat[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint32)) & 1
    return [np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in each]


def _encoded(rows: list[bytes], compression: str, fill_order: int) -> bytes:
    encode = COMPRESSIONS[compression][1]
    whole = b"".join(map(encode, rows)) if compression == "PackBits" else encode(b"".join(rows))
    return bytes(imagecodecs.bitorder_encode(whole)) if fill_order == 2 else bytes(whole)
