"""Tests of PNG files: chunks that are passed by, gamma, transparency and depth."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from model.data.encoding import encode
from model.data.images import ImageError, decode
from tests.support.png_files import chunk, png

GRAY = (np.add.outer(np.arange(40), np.arange(60)) * 2 % 251)[..., None].astype(np.uint32)
DEEP = (np.add.outer(np.arange(40), np.arange(60) * 1000) % 65536)[..., None].astype(np.uint32)

ANCILLARY = {
    "text": chunk(b"tEXt", b"Comment\0old scan", wrong_crc=True),
    "packed text": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"old"), wrong_crc=True),
    "international text": chunk(b"iTXt", b"Comment\0\0\0\0\0old", wrong_crc=True),
    "resolution": chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1), wrong_crc=True),
    "time": chunk(b"tIME", struct.pack(">HBBBBB", 2011, 3, 4, 5, 6, 7), wrong_crc=True),
    "gamma": chunk(b"gAMA", struct.pack(">I", 100_000), wrong_crc=True),
    "profile": chunk(b"iCCP", b"x\0\0" + zlib.compress(b"y"), wrong_crc=True),
    "EXIF": chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0", wrong_crc=True),
    "unknown": chunk(b"zzZz", b"something", wrong_crc=True),
    "large text": chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * (3 << 20))),
    "large international text": chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(b"x" * (3 << 20))),
    "text that does not unpack": chunk(b"zTXt", b"workflow\0\0nonsense"),
    "large profile": chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(5 << 20))),
}


@pytest.mark.parametrize("name", ANCILLARY)
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_damaged_or_large_chunk_without_pixels_is_passed_by(name: str, place: str):
    odd = ANCILLARY[name]
    content = png(GRAY, 8, 0, odd) if place == "before" else png(GRAY, 8, 0, after=(odd,))
    photograph = decode(content)
    assert np.array_equal(photograph.rgb[..., 0], GRAY[..., 0])
    assert not photograph.metadata.texts
    assert photograph.metadata.dpi is None
    assert decode(encode(photograph.rgb, photograph)).width == 60


def test_a_good_chunk_beside_a_damaged_one_is_kept():
    content = png(GRAY, 8, 0, ANCILLARY["text"], chunk(b"tEXt", b"Title\0Grandmother"), ANCILLARY["time"])
    assert decode(content).metadata.texts == (("Title", "Grandmother"),)


def test_a_wrong_checksum_in_pixels_is_refused():
    whole = png(GRAY, 8, 0)
    at = whole.index(b"IDAT") + 20
    with pytest.raises(ImageError, match="chunk IDAT has a wrong checksum"):
        decode(whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :])


def test_bytes_after_the_end_are_passed_by():
    assert np.array_equal(decode(png(GRAY, 8, 0) + b"SEFT" * 20).rgb[..., 0], GRAY[..., 0])


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("color_type", [0, 2])
def test_gamma_is_honored(depth: int, color_type: int):
    most = (1 << depth) - 1
    light = np.linspace(0, 1, 200)  # proportional to light: a gamma of 1
    stored = np.tile((light * most).round().astype(np.uint32)[None, :, None], (3, 1, 3 if color_type else 1))
    content = png(stored, depth, color_type, chunk(b"gAMA", struct.pack(">I", 100_000)))
    light = stored[0, :, 0] / most
    expected = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    pixels = decode(content).pixels
    assert np.abs(pixels[0, :, 0] / np.iinfo(pixels.dtype).max - expected).max() <= 0.51 / most
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


@pytest.mark.parametrize(
    "chunks",
    [
        (chunk(b"gAMA", struct.pack(">I", 45_455)),),
        (chunk(b"gAMA", struct.pack(">I", 100_000)), chunk(b"sRGB", b"\0")),
        (chunk(b"gAMA", struct.pack(">I", 100_000)), chunk(b"cICP", bytes((1, 13, 0, 1)))),
        (chunk(b"gAMA", bytes(4)),),
    ],
    ids=["sRGB's own", "beside sRGB", "beside cICP", "zero"],
)
def test_gamma_of_srgb_and_gamma_beside_a_color_space_change_nothing(chunks: tuple[bytes, ...]):
    assert np.array_equal(decode(png(GRAY, 8, 0, *chunks)).rgb[..., 0], GRAY[..., 0])


def test_a_transparent_black_of_16_bits_becomes_white():
    hole = DEEP.copy()
    hole[:20, :20] = 0
    hole[30, 30] = 1
    pixels = decode(png(hole, 16, 0, chunk(b"tRNS", b"\0\0"))).pixels
    assert (pixels[:20, :20] == 65535).all()
    assert (pixels[30, 30] == 1).all(), "only the color itself is transparent"


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_are_read_and_written_to_the_last_bit(channels: int):
    samples = np.random.default_rng(0).integers(0, 65536, (40, 60, channels), dtype=np.uint32)
    photograph = decode(png(samples, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels]), keep_alpha=True)
    written = imagecodecs.png_decode(encode(photograph.pixels, photograph))
    assert written.dtype == np.uint16
    colors = samples[..., :1].repeat(3, 2) if channels <= 2 else samples[..., :3]
    assert np.array_equal(written[..., :3], colors)
    if channels in (2, 4):
        assert np.array_equal(written[..., 3], samples[..., -1])


def test_written_pngs_of_16_bits_are_smaller_than_their_samples():
    smooth = np.tile((np.arange(400) * 150).astype(np.uint32)[None, :, None], (300, 1, 1))
    photograph = decode(png(smooth, 16, 0))
    content = encode(photograph.pixels, photograph)
    assert len(content) < smooth.size * 6 / 10
    with Image.open(io.BytesIO(content)) as opened:
        opened.load()
