"""Tests of what a colored file keeps: resolution, XMP, IPTC, comments, texts, profiles of 16 bits, opacity, pages."""

import io
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, PngImagePlugin

from model.data.encoding import Pages, encode
from model.data.images import ImageError, decode
from model.data.xmp import SOURCE_TYPE, Mark
from tests.model.data.test_xmp import packet, values
from tests.support.png_files import chunk, png
from tests.support.tiff_files import tiff

MARK = Mark("colorize 0.2.0", "colorizer, version 3")
GRAY = (np.add.outer(np.arange(30), np.arange(40)) * 3).astype(np.uint8)
IPTC = b"\x1c\x02\x05\x00\x0bGrandmother\x1c\x02\x50\x00\x04Otto"


def saved(file_format: str, mode: str = "L", **options: object) -> bytes:
    content = io.BytesIO()
    Image.fromarray(GRAY).convert(mode).save(content, file_format, **options)
    return content.getvalue()


def colored(content: bytes, mark: Mark | None = MARK) -> Image.Image:
    photograph = decode(content)
    return Image.open(io.BytesIO(encode(photograph.pixels, photograph, mark)))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("dpi", [(600, 600), (300, 1200)])
def test_the_resolution_is_kept(file_format: str, dpi: tuple[int, int]):
    with colored(saved(file_format, dpi=dpi)) as written:
        assert written.info["dpi"] == pytest.approx(dpi, abs=0.01)


def test_the_resolution_changes_sides_with_the_picture():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for file_format in ("JPEG", "PNG", "TIFF"):
        with colored(saved(file_format, dpi=(300, 1200), exif=exif)) as written:
            assert written.size == (30, 40)
            assert written.info["dpi"] == pytest.approx((1200, 300), abs=0.01), file_format
            assert written.getexif().get(ExifTags.Base.Orientation, 1) == 1


def test_a_jpeg_without_a_resolution_gets_none():
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Somebody"
    with colored(saved("JPEG", exif=exif)) as written:
        assert "jfif_unit" not in written.info or written.info["jfif_unit"] == 0


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("mark", [MARK, None], ids=["marked", "not marked"])
def test_xmp_is_kept_in_every_format_that_holds_it(file_format: str, mark: Mark | None):
    given = packet('photoshop:City="Weimar" photoshop:Credit="The archive" tiff:Orientation="3"')
    options: dict[str, object] = {"xmp": given}
    if file_format == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", given.decode())
        options = {"pnginfo": texts}
    if file_format == "TIFF":
        options = {"tiffinfo": {700: given}}
    with colored(saved(file_format, **options), mark) as written:
        found = values(bytes(written.info["xmp"]))
    assert found["photoshop:City"] == ["Weimar"]
    assert found["tiff:Orientation"] == ["1"]
    assert found.get("Iptc4xmpExt:DigitalSourceType") == ([SOURCE_TYPE] if mark else None)
    credit = "The archive; Colors by colorize 0.2.0 (colorizer, version 3)"
    assert found["photoshop:Credit"] == [credit if mark else "The archive"]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP", "GIF"])
def test_every_file_is_marked(file_format: str):
    with colored(saved(file_format)) as written:
        found = values(bytes(written.info["xmp"]))
    assert found["Iptc4xmpExt:DigitalSourceType"] == [SOURCE_TYPE]
    assert found["xmp:CreatorTool"] == ["colorize 0.2.0 (colorizer, version 3)"]
    with colored(saved(file_format), None) as written:
        assert "xmp" not in written.info


def test_xmp_that_a_jpeg_cannot_hold_leaves_the_mark():
    given = packet("", f"<dc:rights>{'x' * 80_000}</dc:rights>")
    photograph = decode(saved("JPEG"))
    long = decode(saved("WEBP", xmp=given))
    assert len(long.metadata.xmp) > 65_536
    content = encode(photograph.pixels, replace(photograph, metadata=long.metadata), MARK)
    with Image.open(io.BytesIO(content)) as written:
        found = values(written.info["xmp"])
    assert found["Iptc4xmpExt:DigitalSourceType"] == [SOURCE_TYPE]


def test_iptc_is_kept_in_jpeg_and_tiff():
    resource = struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(IPTC)) + IPTC + bytes(len(IPTC) % 2)
    body = b"Photoshop 3.0\0" + resource
    segment = struct.pack(">HH", 0xFFED, len(body) + 2) + body
    with colored(saved("JPEG", extra=segment)) as written:
        assert written.info["photoshop"][0x0404] == IPTC
    padded = IPTC + bytes(-len(IPTC) % 4)
    for order in "<>":
        swapped = struct.unpack(f"{order}{len(padded) // 4}I", padded)
        for kind, content in ((7, padded), (4, struct.pack(f"{order}{len(swapped)}I", *swapped))):
            given = _with_iptc(kind, content, order)
            with colored(given) as written:
                assert written.tag_v2[33723].startswith(IPTC), (order, kind)


def _with_iptc(kind: int, content: bytes, order: str) -> bytes:
    """Returns a TIFF whose IPTC has this type; LONGs are what many programs write."""
    given = tiff([GRAY[..., None].astype(np.uint32)], 8, 1, order=order, tags={33723: (7, content)})
    if kind == 7:
        return given
    entry = struct.pack(f"{order}HHI", 33723, 7, len(content))
    return given.replace(entry, struct.pack(f"{order}HHI", 33723, 4, len(content) // 4))


def test_comments_and_texts_are_kept():
    with colored(saved("JPEG", comment="Taken in Łódź, 1936")) as written:
        assert written.info["comment"].decode() == "Taken in Łódź, 1936"
    with colored(saved("GIF", comment=b"old")) as written:
        assert (written.format, written.info["comment"]) == ("JPEG", b"old")
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "Grandmother")
    texts.add_text("Description", "long " * 1000, zip=True)
    texts.add_itxt("Author", "Łucja", "pl", "Autor")
    with colored(saved("PNG", pnginfo=texts)) as written:
        kept = {key: value for key, value in written.text.items() if not key.startswith("XML")}
    assert kept == {"Title": "Grandmother", "Description": "long " * 1000, "Author": "Łucja"}
    described = tiff([GRAY[..., None].astype(np.uint32)], 8, 1, tags={270: (2, b"Grandmother\0"), 315: (2, b"Otto\0")})
    with colored(described) as written:
        assert (written.tag_v2[270], written.tag_v2[315]) == ("Grandmother", "Otto")


def test_a_png_of_16_bits_keeps_what_one_of_8_keeps():
    chunks = (chunk(b"pHYs", struct.pack(">IIB", 23622, 23622, 1)), chunk(b"tEXt", b"Title\0Grandmother"))
    with colored(png(GRAY[..., None].astype(np.uint32) * 257, 16, 0, *chunks)) as written:
        assert written.info["dpi"] == pytest.approx((600, 600), abs=0.01)
        assert written.text["Title"] == "Grandmother"
        assert SOURCE_TYPE in written.text["XML:com.adobe.xmp"]


def test_a_tiff_of_16_bits_is_written_whole_and_other_programs_read_it(tmp_path: Path):
    deep = np.random.default_rng(0).integers(0, 65536, (50, 70, 1), dtype=np.uint32)
    photograph = decode(tiff([deep], 16, 0, order=">", tags={270: (2, b"Grandmother\0")}))
    path = tmp_path / "colored.tif"
    path.write_bytes(encode(photograph.pixels, photograph, MARK))
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        assert np.array_equal(page.asarray(), 65535 - deep.repeat(3, axis=2))
        assert (page.description, page.photometric.name, page.compression.value) == ("Grandmother", "RGB", 8)
        assert SOURCE_TYPE in page.tags[700].value.decode()


def icc_profile(gamma: float, columns: tuple[tuple[float, float, float], ...] = ()) -> bytes:
    """Returns an ICC profile of gray, or of RGB with these primaries: (X, Y, Z) at D50 each."""
    curve = struct.pack(">4sIIH", b"curv", 0, 1, round(gamma * 256)) + b"\0\0"
    xyz = [b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in c)) for c in columns]
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79)
    tags = {b"wtpt": white, b"desc": text, b"cprt": b"text\0\0\0\0none\0\0\0\0"}
    tags |= {b"kTRC": curve} if not columns else dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    tags |= dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), xyz, strict=False))
    at, table, data = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, at + len(data), len(content))
        data += content
    space = b"RGB " if columns else b"GRAY"
    head = struct.pack(">I4sI4s4s4s", at + len(data), b"none", 0x02400000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + data


ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


def test_a_gray_profile_acts_on_16_bits_as_on_8():
    deep = np.tile((np.arange(256) * 257).astype(np.uint32)[None, :, None], (4, 1, 1))
    icc = icc_profile(1.8)
    wide = decode(tiff([deep], 16, 1, tags={34675: (7, icc)}))
    narrow = decode(tiff([deep // 257], 8, 1, tags={34675: (7, icc)}))
    assert wide.pixels.dtype == np.uint16
    assert np.abs(wide.pixels / 257 - narrow.pixels).max() < 1.6, "Little CMS is the reference"
    assert np.abs(narrow.pixels[0, :, 0].astype(int) - np.arange(256)).max() > 5, "the profile acts"
    light = (np.arange(256) / 255) ** 1.8
    exact = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055) * 65535
    assert np.abs(wide.pixels[0, :, 0] - exact).max() < 40, "1.8 is stored as a multiple of 1/256"


def test_a_profile_of_another_rgb_space_is_applied_to_16_bits_and_kept():
    draws = np.random.default_rng(0).integers(30, 200, (20, 30, 3), dtype=np.uint32) * 257
    icc = icc_profile(2.19921875, ADOBE)
    wide = decode(tiff([draws], 16, 2, tags={34675: (7, icc)}))
    narrow = decode(tiff([draws // 257], 8, 2, tags={34675: (7, icc)}))
    assert wide.pixels.dtype == np.uint16
    inside = (narrow.pixels > 3) & (narrow.pixels < 252)
    assert np.abs(wide.pixels / 257 - narrow.pixels)[inside].max() < 2.1, "Little CMS is the reference"
    clipped = ((wide.pixels == 0) | (wide.pixels == 65535)).any(axis=2)
    written = tifffile.imread(io.BytesIO(encode(wide.pixels, wide)))
    assert decode(encode(wide.pixels, wide)).icc == icc
    assert np.abs(written.astype(int) - draws.astype(int))[~clipped].max() <= 8


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_opacity_is_kept_on_request(file_format: str):
    alpha = np.tile(np.arange(40, dtype=np.uint8) * 6, (30, 1))
    content = io.BytesIO()
    image = Image.merge("LA", (Image.fromarray(GRAY), Image.fromarray(alpha)))
    image = image.convert("RGBA") if file_format == "WEBP" else image
    image.save(content, file_format, **({"lossless": True, "exact": True} if file_format == "WEBP" else {}))
    kept = decode(content.getvalue(), keep_alpha=True)
    assert np.array_equal(kept.rgb[..., 0], GRAY), "nothing is blended"
    with Image.open(io.BytesIO(encode(kept.pixels, kept, MARK))) as written:
        assert written.mode == "RGBA"
        assert np.array_equal(np.asarray(written)[..., 3], alpha)
    blended = decode(content.getvalue())
    assert blended.alpha is None
    assert (blended.rgb[:, 0] == 255).all()


def test_each_page_of_a_tiff_is_read_and_several_are_written():
    pages = [GRAY[..., None].astype(np.uint32) * 257, 65535 - GRAY[..., None].astype(np.uint32) * 257]
    content = tiff([pages[0], pages[1], pages[0][:20]], 16, 1, order=">")
    found = [decode(content, page=number) for number in (1, 2, 3)]
    assert [one.pages for one in found] == [3, 3, 3]
    with pytest.raises(ImageError, match="there is no page 4: it has 3"):
        decode(content, page=4)
    collected = Pages(MARK)
    for one in found:
        collected.add(one.pixels, one)
    with tifffile.TiffFile(io.BytesIO(collected.content())) as file:
        assert len(file.pages) == 3
        for page, given in zip(file.pages, (pages[0], pages[1], pages[0][:20]), strict=True):
            assert np.array_equal(page.asarray(), given.repeat(3, axis=2))
            assert SOURCE_TYPE in page.tags[700].value.decode()


def test_thumbnails_in_a_tiff_are_no_pages():
    thumbnail = GRAY[::2, ::2, None].astype(np.uint32)
    content = bytearray(tiff([GRAY[..., None].astype(np.uint32), thumbnail], 8, 1, tags={254: (4, bytes(4))}))
    last = content.rindex(struct.pack("<HHI", 254, 4, 1))
    content[last + 8] = 1
    photograph = decode(bytes(content))
    assert (photograph.pages, photograph.width) == (1, 40)


@pytest.mark.parametrize("file_format", ["HEIF", "AVIF", "JPEG2000"])
def test_heic_avif_and_jpeg_2000_are_read_with_what_they_say(file_format: str):
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Otto"
    options = {"exif": exif.tobytes(), "quality": 95} if file_format != "JPEG2000" else {}
    photograph = decode(saved(file_format, "RGB", **options))
    assert (photograph.format, photograph.rgb.shape) == (file_format, (30, 40, 3))
    assert np.abs(photograph.rgb[..., 0].astype(int) - GRAY).max() < 12
    with Image.open(io.BytesIO(encode(photograph.pixels, photograph, MARK))) as written:
        assert written.format == ("TIFF" if file_format == "JPEG2000" else "JPEG")
        assert written.getexif().get(ExifTags.Base.Artist) == ("Otto" if options else None)
        assert SOURCE_TYPE.encode() in bytes(written.info["xmp"])


def test_a_turned_heic_is_upright_once():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photograph = decode(saved("HEIF", "RGB", exif=exif.tobytes(), quality=95))
    assert photograph.rgb.shape == (40, 30, 3)
    assert np.abs(photograph.rgb[..., 0].astype(int) - np.rot90(GRAY, -1)).max() < 12


def test_16_bits_of_a_jpeg_2000_stay():
    content = io.BytesIO()
    deep = GRAY.astype(np.uint16) * 257 + 3
    Image.fromarray(deep).save(content, "JPEG2000")
    photograph = decode(content.getvalue())
    assert np.array_equal(photograph.pixels[..., 0], deep)
    assert np.array_equal(tifffile.imread(io.BytesIO(encode(photograph.pixels, photograph)))[..., 1], deep)
