"""Tests of small files that are made to take hours or gigabytes: each is refused or what is too much is passed by."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from model.data import jpeg, tiff
from model.data.images import ImageError, decode
from model.data.metadata import MAX_EXIF
from model.data.png import MAX_CHUNKS, MAX_TEXT, clean
from tests.support.png_files import chunk, png
from tests.support.tiff_files import tiff as written

GRAY = (np.add.outer(np.arange(40), np.arange(60)) * 2 % 251)[..., None].astype(np.uint32)


def saved(file_format: str, **options: object) -> bytes:
    content = io.BytesIO()
    Image.fromarray(GRAY[..., 0].astype(np.uint8)).save(content, file_format, **options)
    return content.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def in_exif_segments(exif: bytes) -> bytes:
    parts = (exif[at : at + 65_000] for at in range(0, len(exif), 65_000))
    return b"".join(segment(0xE1, b"Exif\0\0" + part) for part in parts)


def exif_of_numbers(size: int) -> bytes:
    """Returns EXIF whose resolution and whose orientation have as many numbers as `size` bytes hold."""
    tags = struct.pack("<HHIIHHII", 0x112, 3, size // 2, 8, 0x11A, 5, size // 8, 8)
    return b"II*\0" + struct.pack("<I", 8 + size) + b"\1" * size + struct.pack("<H", 2) + tags + bytes(4)


def test_a_jpeg_of_many_scans_is_refused():
    content = saved("JPEG", progressive=True)
    assert decode(content).width == 60
    last = content.rindex(b"\xff\xda")
    scan = content[last:-2]
    assert decode(content[:-2] + scan * 50 + content[-2:]).width == 60
    with pytest.raises(ImageError, match="more than 100 scans"):
        decode(content[:-2] + scan * jpeg.MAX_SCANS + content[-2:])


def test_bytes_that_look_like_scans_do_not_count():
    content = saved("JPEG")
    comments = segment(0xFE, b"\xff\xda" * 30_000) * 3
    assert decode(content[:2] + comments + content[2:] + b"\xff\xda" * 1000).width == 60


def test_a_jpeg_of_many_segments_is_refused():
    content = saved("JPEG")
    with pytest.raises(ImageError, match="10000 segments"):
        decode(content[:2] + segment(0xE5, b"") * (jpeg.MAX_SEGMENTS + 1) + content[2:])


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_exif_that_is_too_large_is_passed_by_in_little_memory(file_format: str):
    def with_exif(exif: bytes) -> bytes:
        if file_format == "JPEG":
            content = saved("JPEG", dpi=(0, 0))
            return content[:2] + in_exif_segments(exif) + content[20:]  # without JFIF's resolution
        return png(GRAY, 8, 0, chunk(b"eXIf", exif)) if file_format == "PNG" else saved(file_format, exif=exif)

    small, large = with_exif(saved_exif()), with_exif(exif_of_numbers(8 * MAX_EXIF))
    assert decode(small).metadata.exif
    tracemalloc.start()
    photograph = decode(large)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert photograph.width == 60
    assert not photograph.metadata.exif
    assert most < 5 * len(large), "a number of two bytes would take 36, a fraction 200"


def saved_exif() -> bytes:
    exif = Image.Exif()
    exif[0x10E] = "Grandmother"
    return exif.tobytes()[6:]


def test_many_texts_are_not_all_unpacked(monkeypatch: pytest.MonkeyPatch):
    unpacked = 0
    whole = zlib.decompressobj

    class Counted:
        def __init__(self) -> None:
            self.real = whole()

        def decompress(self, *arguments: object) -> bytes:
            nonlocal unpacked
            made = self.real.decompress(*arguments)
            unpacked += len(made)
            return made

        @property
        def unconsumed_tail(self) -> bytes:
            return self.real.unconsumed_tail

    monkeypatch.setattr("model.data.png.zlib.decompressobj", Counted)
    packed = zlib.compress(bytes(MAX_TEXT - 1), 9)
    text, profile = chunk(b"zTXt", b"note\0\0" + packed), chunk(b"iCCP", b"note\0\0" + packed)
    for odd in (text, profile):
        unpacked = 0
        described = clean(png(GRAY, 8, 0, *[odd] * 200))
        assert unpacked <= 18 * MAX_TEXT
        assert len(described.content) < 20 * len(odd)


def test_a_png_of_many_chunks_is_refused():
    with pytest.raises(ImageError, match="more than 100000 chunks"):
        decode(png(GRAY, 8, 0, chunk(b"prVt", b"") * MAX_CHUNKS))


def test_a_png_whose_header_is_hidden_is_refused():
    content = png(GRAY, 8, 0)
    header, rest = content[8:33], content[33:]
    assert decode(content).width == 60
    for chunks in (chunk(b"prVt", b"") + header + rest, header + header + rest):
        with pytest.raises(ImageError, match="header is not the first chunk"):
            decode(content[:8] + chunks)


def test_a_long_tag_that_all_pages_of_a_tiff_have_is_kept_once():
    content = written([GRAY] * 40, 8, 1, tags={40_000: (7, bytes(200_000))})
    tracemalloc.start()
    found = tiff.directories(content)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(found) == 40
    assert kept < 1_000_000


def overlapping(pages: int, size: int) -> bytes:
    """Returns a TIFF whose pages each have a tag of almost the whole file, from another byte on."""
    content = bytearray(written([GRAY], 8, 1))
    start = len(content)
    content += np.random.default_rng(0).bytes(size + pages)
    content[4:8] = struct.pack("<I", len(content))
    for page in range(pages):
        tags = [(256, 4, 1, 60), (257, 4, 1, 40), (40_000, 7, size, start + page)]
        after = len(content) + 2 + 12 * len(tags) + 4 if page + 1 < pages else 0
        content += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        content += struct.pack("<I", after)
    return bytes(content)


def test_a_tiff_whose_tags_overlap_is_refused():
    with pytest.raises(ImageError, match="whose tags overlap"):
        decode(overlapping(50, 1_000_000))


def test_a_tiff_of_directories_that_overlap_is_refused():
    tags, at = 60_000, 4096
    entries = b"".join(struct.pack("<HHIHH", 256 + each % 2, 3, 1, 64, tags) for each in range(tags + 20))
    content = bytearray(b"II*\0" + struct.pack("<I", at - 2) + bytes(at - 10) + struct.pack("<H", tags) + entries)
    for page in range(19):  # where the directory ends, the next entry begins: it holds the link
        link = at + 12 * (tags + page)
        content[link : link + 4] = struct.pack("<I", at + 12 * (page + 1) - 2)
    with pytest.raises(ImageError, match="more than 500000 tags"):
        decode(bytes(content))


def of_one_strip(**changes: tuple[int, ...]) -> bytes:
    """Returns a TIFF of one strip with other tags: width, height, channels, strip sizes, tile sizes."""
    strip = zlib.compress(bytes(64 * 64), 9)
    tags = {256: (64,), 257: (64,), 258: (8,), 259: (8,), 262: (1,), 273: (8,), 277: (1,), 278: (64,)}
    tags |= {279: (len(strip),)} | {int(tag[1:]): values for tag, values in changes.items()}
    data = strip + bytes(len(strip) % 2)
    directory = tiff._directory(tags, 8 + len(data))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: of_one_strip(t322=(40_000,), t323=(40_000,), t324=(8,), t325=(100,)), "tiles have more than"),
        (lambda: of_one_strip(t278=(1,), t273=(8,) * 64, t279=(1 << 25,) * 64), "strips or tiles overlap"),
        (lambda: of_one_strip(t277=(2000,)), "not supported"),
    ],
)
def test_a_tiff_that_unpacks_to_much_more_than_its_pixels_is_refused(content: Callable[[], bytes], reason: str):
    assert decode(of_one_strip()).width == 64
    with pytest.raises(ImageError, match=reason):
        decode(content())


def test_long_tags_of_numbers_are_left_out():
    long = struct.pack("<II", 300, 1) * 100_000
    content = written([GRAY], 8, 1, tags={40_001: (4, long)})
    assert decode(content).width == 60
    assert 40_001 not in tiff.directories(content)[0]
