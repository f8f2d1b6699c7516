"""A writer of PNG files of every kind, interlaced ones and ones with odd chunks."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOR_TYPES = {"gray": 0, "RGB": 2, "palette": 3, "gray and alpha": 4, "RGB and alpha": 6}
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def chunk(kind: bytes, body: bytes, *, wrong_crc: bool = False) -> bytes:
    """Returns a chunk."""
    checksum = zlib.crc32(kind + body) ^ wrong_crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def png(
    samples: NDArray[np.unsignedinteger],
    depth: int,
    color_type: int,
    *chunks: bytes,
    interlaced: bool = False,
    after: tuple[bytes, ...] = (),
) -> bytes:
    """Returns a PNG.

    Args:
        samples: (H, W, channels).
        depth: bits of a sample.
        color_type: one of `COLOR_TYPES`.
        chunks: chunks before the pixels.
        interlaced: stores the pixels in seven passes.
        after: chunks after the pixels.
    """
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, interlaced)
    passes = [samples[y::dy, x::dx] for y, x, dy, dx in _ADAM7] if interlaced else [samples]
    rows = b"".join(b"\0" + row for part in passes if part.size for row in _rows(part, depth))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"".join((SIGNATURE, chunk(b"IHDR", header), *chunks, pixels, *after, chunk(b"IEND", b"")))


def _rows(part: NDArray[np.unsignedinteger], depth: int) -> list[bytes]:
    if depth >= 8:
        return [row.astype(f">u{depth // 8}").tobytes() for row in part]
    each = (part.reshape(len(part), -1, 1) >> np.arange(depth - 1, -1, -1, dtype=part.dtype)) & 1
    return [np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in each]
