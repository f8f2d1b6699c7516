"""Tests of reading and writing photographs: formats, modes, EXIF, color profiles, and files that are refused."""

import io
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from model.data import kinds
from model.data.encoding import encode
from model.data.images import FormatError, ImageError, decode
from model.data.metadata import Metadata
from serving.inputs import find
from tests.support.bombs import BOMBS

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def gradient(width: int = 64, height: int = 48) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack((x * 255 // width, y * 255 // height, 255 - x * 255 // width), -1).astype(np.uint8))


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, file_format, **options)
    return content.getvalue()


def apart(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(int) - second.astype(int)).mean())


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_every_format_is_read_and_written_back(file_format: str):
    picture = gradient()
    options = {"quality": 95} if file_format in ("JPEG", "WEBP") else {}
    photograph = decode(saved(picture, file_format, **options))
    assert photograph.format == file_format
    assert photograph.rgb.shape == (48, 64, 3)
    assert apart(photograph.rgb, np.asarray(picture)) < (20 if file_format == "GIF" else 4)
    again = decode(encode(photograph.rgb, photograph))
    assert again.format == ("JPEG" if file_format == "GIF" else file_format)
    assert apart(again.rgb, photograph.rgb) < 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "RGB"])
def test_every_mode_becomes_rgb(mode: str):
    gray = gradient().convert("L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    else:
        image = (gray if mode in ("1", "L", "LA") else gradient()).convert(mode)
    photograph = decode(saved(image, "TIFF" if mode in ("CMYK", "I;16") else "PNG"))
    assert photograph.rgb.dtype == np.uint8
    assert photograph.rgb.shape == (48, 64, 3)
    if mode in ("L", "LA", "I;16"):
        assert apart(photograph.rgb[..., 0], np.asarray(gray)) < 1.5, "16 bits are scaled, not cut"


def test_transparent_pixels_become_white():
    clear = Image.new("RGBA", (5, 5), (200, 0, 0, 0))
    assert (decode(saved(clear, "PNG")).rgb == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_reset_to_upright(orientation: int):
    upright = gradient(40, 24)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that lays the upright picture so
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Artist] = "Somebody"
    photograph = decode(saved(stored, "PNG", exif=exif))
    assert np.array_equal(photograph.rgb, np.asarray(upright))
    with Image.open(io.BytesIO(encode(photograph.rgb, photograph))) as written:
        assert written.getexif().get(ExifTags.Base.Orientation, 1) == 1
        assert written.getexif()[ExifTags.Base.Artist] == "Somebody"


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("details", [False, True])
def test_exif_is_preserved_in_every_format_that_supports_it(file_format: str, details: bool):
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Somebody"
    if details:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "1936:05:01 12:00:00"
        exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    photograph = decode(saved(gradient(), file_format, exif=exif.tobytes()))
    with Image.open(io.BytesIO(encode(photograph.rgb, photograph))) as written:
        read = written.getexif()
        assert read[ExifTags.Base.Artist] == "Somebody"
        if details:
            assert read.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "1936:05:01 12:00:00"
            assert read.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"


def test_unwritable_exif_is_left_out():
    broken = Metadata(exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x07\0\xff")
    photograph = replace(decode(saved(gradient(), "TIFF")), metadata=broken)
    assert apart(decode(encode(photograph.rgb, photograph)).rgb, photograph.rgb) == 0


def test_an_embedded_profile_is_kept_and_a_broken_one_is_ignored():
    photograph = decode(saved(gradient(), "PNG", icc_profile=SRGB))
    with Image.open(io.BytesIO(encode(photograph.rgb, photograph))) as written:
        assert written.info["icc_profile"] == SRGB
    broken = decode(saved(gradient(), "PNG", icc_profile=b"no profile at all, just some bytes"))
    assert apart(broken.rgb, np.asarray(gradient())) == 0


def test_another_rgb_space_is_converted_to_srgb_and_back():
    swapped = bytearray(SRGB)  # exchanging the red and green primaries makes an honest profile of another space
    red, green = swapped.index(b"rXYZ"), swapped.index(b"gXYZ")
    swapped[red], swapped[green] = swapped[green], swapped[red]
    profile = bytes(swapped)
    photograph = decode(saved(gradient(), "PNG", icc_profile=profile))
    assert apart(photograph.rgb, np.asarray(gradient())[..., [1, 0, 2]]) < 3
    with Image.open(io.BytesIO(encode(photograph.rgb, photograph))) as written:
        assert written.info["icc_profile"] == profile
        assert apart(np.asarray(written), np.asarray(gradient())) < 3


def test_min_side_decodes_a_large_photograph_at_a_reduced_size(photos: Path):
    path = max((photos / "lomiri-wallpapers-16.04").glob("*.jpg"), key=lambda file: file.stat().st_size)
    whole, small = decode(path), decode(path, min_side=64)
    assert (small.width, small.height) == (whole.width, whole.height)
    assert 64 <= min(small.rgb.shape[:2]) < min(whole.rgb.shape[:2]) / 2


def test_a_decompression_bomb_is_refused():
    content = saved(Image.new("L", (2000, 2000)), "PNG")
    with pytest.raises(ImageError, match="2000 x 2000 pixels, more than the limit"):
        decode(content, max_pixels=1_000_000)
    for name in ("pixels.png", "frame.gif"):
        assert len(BOMBS[name]) < 200_000
        with pytest.raises(ImageError, match="more pixels than the limit"):
            decode(BOMBS[name])


@pytest.mark.parametrize("name", ["text.png", "profile.png"])
def test_a_bomb_of_text_or_profile_is_passed_by_in_little_memory(name: str):
    decode(saved(gradient(), "PNG"))
    tracemalloc.start()
    photograph = decode(BOMBS[name])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert photograph.rgb.shape == (64, 64, 3)
    assert most < 16 << 20, "128 MiB are not unpacked"


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_a_truncated_file_is_refused(file_format: str, tmp_path: Path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path = tmp_path / "short.img"
    content = saved(noise, file_format)
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(ImageError, match=r"short\.img"):
        decode(path)


@pytest.mark.parametrize(("suffix", "file_format"), [(".heic", "HEIF"), (".avif", "AVIF"), (".jp2", "JPEG2000")])
def test_a_format_that_is_missing_on_a_machine_is_named(
    suffix: str, file_format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    content = saved(gradient(), file_format)
    path = tmp_path / f"old{suffix}"
    path.write_bytes(content)
    assert decode(path).format == file_format
    monkeypatch.setitem(kinds.MISSING, file_format, "a file that needs another package")
    for source in (path, content):
        with pytest.raises(FormatError, match="a file that needs another package"):
            decode(source)
    found = find([tmp_path], tmp_path / "out")
    assert not found.jobs
    assert found.passed_by == [f"{path}: a file that needs another package."]


def test_invalid_unsupported_and_missing_files_are_refused(tmp_path: Path):
    for content in (b"", b"plain text", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(ImageError):
            decode(content)
    with pytest.raises(ImageError):
        decode(saved(gradient(), "PPM"))  # a format that Pillow knows and we do not open
    with pytest.raises(ImageError, match=r"nowhere\.jpg"):
        decode(tmp_path / "nowhere.jpg")
