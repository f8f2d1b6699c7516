"""Decompression bombs: small files that are large when unpacked."""

import io
import struct
import zlib

from PIL import Image


def _png(side: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Returns a PNG that declares side x side pixels of RGB, with these chunks."""
    header = (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in (header, *chunks, (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content


def _gif() -> bytes:
    """Returns a GIF of 10 x 10 pixels with a frame of 65000 x 65000."""
    file = io.BytesIO()
    Image.new("P", (10, 10)).save(file, "GIF")
    content = bytearray(file.getvalue())
    frame = content.index(b"\x2c")
    content[frame + 5 : frame + 9] = struct.pack("<HH", 65000, 65000)
    return bytes(content)


_PIXELS = (b"IDAT", zlib.compress(bytes(64 * (3 * 64 + 1))))
_MUCH = zlib.compress(bytes(1 << 27), 9)  # 128 MiB in 128 KiB

BOMBS = {
    "pixels.png": _png(100_000, (b"IDAT", _MUCH)),
    "text.png": _png(64, (b"zTXt", b"comment\0\0" + _MUCH), _PIXELS),
    "profile.png": _png(64, (b"iCCP", b"profile\0\0" + _MUCH), _PIXELS),
    "frame.gif": _gif(),
}
