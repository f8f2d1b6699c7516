"""PNG files: chunks that are damaged or too large are passed by, samples of 16 bits are read and written whole."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.data.metadata import MAX_EXIF

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_TEXT = 1 << 20
"""Most bytes of an unpacked chunk of text or of an unpacked profile, Pillow's own limit; a longer one is passed by."""

MAX_CHUNKS = 100_000
"""Most chunks; a real file has one for every 8 KiB."""

_MAX_ALL_TEXT = 16 << 20  # bytes of all texts, unpacked
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_SPACES = (b"iCCP", b"sRGB", b"cICP")  # each says more about color than gAMA, which does not count beside it
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")  # the picture in IDAT alone is read
_SRGB_GAMMA = range(44_000, 47_001)  # what programs write for sRGB, whose curve is near 1 / 2.2
_LEVEL = 6
_PIECE = 1 << 18  # bytes of a chunk of pixels that is written


@dataclass(frozen=True)
class Png:
    """Describes a PNG file without the chunks that cannot be used."""

    content: bytes
    depth: int
    """Bits of a sample."""
    color_type: int
    """0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGB and alpha."""
    gamma: float | None
    """gAMA, if it counts: samples are proportional to light to the power of it. None for sRGB and for a profile."""
    transparent: tuple[int, ...]
    """Color that tRNS declares transparent, one number a channel; empty without one or for a palette."""

    @property
    def deep(self) -> bool:
        """Tells whether its samples have 16 bits."""
        return self.depth == 16


def clean(content: bytes) -> Png:
    """Passes by each ancillary chunk that has a wrong checksum or holds or unpacks to too much.

    Raises:
        ValueError: the file does not begin with its one header, a chunk of pixels or palette has a wrong checksum, or
            there are more than `MAX_CHUNKS`.
    """
    kept, text = [SIGNATURE], 0
    kinds: dict[bytes, bytes] = {}
    for number, (kind, body, whole, good) in enumerate(_chunks(content)):
        if number == MAX_CHUNKS:
            raise ValueError(f"more than {MAX_CHUNKS} chunks")
        if (kind == b"IHDR") != (number == 0):
            raise ValueError("its header is not the first chunk")
        if not good and not kind[0] & 32:
            raise ValueError(f"chunk {kind.decode('latin-1')} has a wrong checksum")
        if not good or kind in _ANIMATION or (kind == b"eXIf" and len(body) > MAX_EXIF):
            continue
        if kind in _TEXT or kind == b"iCCP":
            if text > _MAX_ALL_TEXT or (kind == b"iCCP" and kind in kinds):
                continue
            size = _unpacked(kind, body)
            text += min(size, MAX_TEXT)
            if size >= MAX_TEXT:
                continue
        kinds.setdefault(kind, body)
        kept.append(whole)
    header = kinds.get(b"IHDR", b"")
    if len(header) != 13:
        raise ValueError("no header")
    depth, color_type = header[8], header[9]
    gamma = struct.unpack(">I", kinds[b"gAMA"])[0] if len(kinds.get(b"gAMA", b"")) == 4 else 0
    counts = gamma > 0 and gamma not in _SRGB_GAMMA and not any(space in kinds for space in _SPACES)
    key = kinds.get(b"tRNS", b"") if color_type in (0, 2) else b""
    transparent = struct.unpack(f">{len(key) // 2}H", key[: len(key) // 2 * 2]) if len(key) in (2, 6) else ()
    return Png(b"".join(kept), depth, color_type, gamma / 100_000 if counts else None, transparent)


def deep_samples(png: Png, image: Image.Image) -> NDArray[np.uint16]:
    """Decodes samples of 16 bits: (H, W, channels), with alpha as the last of 2 or 4 channels, without tRNS.

    Pillow keeps the high byte of each sample of a color; told that the order is the other one, it keeps the low byte.

    Args:
        png: the file.
        image: what Pillow made of it: whole if it is gray, else the high bytes.
    """
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[..., None]
    with Image.open(io.BytesIO(png.content), formats=("PNG",)) as again:
        tile = again.tile[0]
        # Gray and alpha of 16 bits have as many bytes as RGB and alpha of 8.
        order = "RGBA" if png.color_type == 4 else str(tile.args).replace("16B", "16L")
        again.tile = [tile._replace(args=order)]
        again.load()
        low = np.asarray(again)
    if png.color_type == 4:
        return np.ascontiguousarray(low).view(">u2").astype(np.uint16)
    samples: NDArray[np.uint16] = np.asarray(image).astype(np.uint16) << 8 | low
    return samples


def chunk(kind: bytes, body: bytes) -> bytes:
    """Returns a chunk as bytes."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def written_deep(samples: NDArray[np.uint16], like: bytes) -> bytes:
    """Returns a PNG of 16 bits with the ancillary chunks of another PNG.

    Args:
        samples: (H, W, channels), of 1 to 4 channels.
        like: a PNG file that Pillow wrote; its chunks but for pixels and palette are taken.
    """
    height, width, channels = samples.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rest = {kind: whole for kind, _, whole, _ in _chunks(like) if kind[0] & 32 and kind != b"tRNS"}
    texts = [whole for kind, _, whole, _ in _chunks(like) if kind in _TEXT]
    before = [whole for kind, whole in rest.items() if kind not in _TEXT] + texts
    return b"".join((SIGNATURE, chunk(b"IHDR", header), *before, *_packed(samples), chunk(b"IEND", b"")))


def _packed(samples: NDArray[np.uint16]) -> Iterator[bytes]:
    """Yields the chunks of the pixels."""
    packer, packed = zlib.compressobj(_LEVEL), b""
    for row in _filtered(samples):
        packed += packer.compress(row)
        if len(packed) >= _PIECE:
            yield chunk(b"IDAT", packed)
            packed = b""
    yield chunk(b"IDAT", packed + packer.flush())


def _filtered(samples: NDArray[np.uint16]) -> Iterator[bytes]:
    """Yields each row as bytes after the filter (none, Sub or Up of ISO 15948) whose sum of magnitudes is least."""
    height, _, channels = samples.shape
    step = 2 * channels
    above = np.zeros(samples.shape[1] * step, np.uint8)
    for number in range(height):
        row = np.ascontiguousarray(samples[number], dtype=">u2").view(np.uint8).reshape(-1)
        left = np.concatenate((np.zeros(step, np.uint8), row[:-step]))
        candidates = np.stack((row, row - left, row - above))
        best = int(np.abs(candidates.view(np.int8).astype(np.int16)).sum(axis=1).argmin())
        yield bytes((best,)) + candidates[best].tobytes()
        above = row


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes, bytes, bool]]:
    """Yields each chunk up to IEND: its kind, its body, all of its bytes, and whether its checksum is right."""
    at = len(SIGNATURE)
    while at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        end = at + 12 + length
        whole = content[at:end]
        # A file that ends within a chunk is cut: the decoder says so.
        good = len(whole) < 12 + length or zlib.crc32(body, zlib.crc32(kind)).to_bytes(4, "big") == whole[-4:]
        yield kind, body, whole, good
        if kind == b"IEND":
            return
        at = end


def _unpacked(kind: bytes, body: bytes) -> int:
    """Returns the bytes of a chunk of text or of a profile when unpacked; at least `MAX_TEXT` if that fails."""
    rest = body.partition(b"\0")[2]
    if kind == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = b"\0".join(rest[2:].split(b"\0", 2)[2:])
    else:
        packed, rest = kind in (b"zTXt", b"iCCP"), rest[1:] if kind in (b"zTXt", b"iCCP") else rest
    if not packed:
        return len(rest)
    unpacker = zlib.decompressobj()
    try:
        size = len(unpacker.decompress(rest, MAX_TEXT))
    except zlib.error:
        return MAX_TEXT
    return MAX_TEXT if unpacker.unconsumed_tail else size
