"""Tests of what `colorize photo` and the server write: mark, credentials, opacity, depth, pages, and other formats."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from fastapi.testclient import TestClient
from PIL import Image

from model.data.xmp import SOURCE_TYPE
from serving.app import create_app
from serving.credentials import read_credentials
from serving.delivery import Delivery
from serving.limits import Limits
from serving.served_models import ServedFolder
from tests.model.data.test_xmp import packet, values
from tests.serving.conftest import until_ready
from tests.support.photo import Photo, colorize, generator, migrated, photo, picture, pictures, workplace
from tests.support.signing import signing_files
from tests.support.tiff_files import tiff

__all__ = ["colorize", "generator", "migrated", "photo", "picture", "workplace"]

MEDIA_TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".tif": "image/tiff", ".webp": "image/webp"}


def marks(content: bytes) -> dict[str, list[str]]:
    with Image.open(io.BytesIO(content)) as opened:
        return values(bytes(opened.info["xmp"])) if "xmp" in opened.info else {}


@pytest.mark.parametrize("marked", [True, False])
def test_pictures_are_marked_unless_asked_otherwise(
    photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image, marked: bool
):
    for suffix in MEDIA_TYPES:
        picture.save(tmp_path / f"old{suffix}")
    picture.save(tmp_path / "told.webp", xmp=packet('photoshop:Credit="The archive"'))
    out = tmp_path / "out"
    done = photo(tmp_path, "--out", out, "--model", generator, *([] if marked else ["--no-mark"]))
    assert done.status == 0, done.err
    for suffix in MEDIA_TYPES:
        found = marks((out / f"old-colorized{suffix}").read_bytes())
        if not marked:
            assert found == {}, suffix
            continue
        assert found["Iptc4xmpExt:DigitalSourceType"] == [SOURCE_TYPE], suffix
        assert found["xmp:CreatorTool"][0].startswith("colorize 0."), suffix
        assert "(colorizer, weights " in found["photoshop:Credit"][0], suffix
    told = marks((out / "told-colorized.webp").read_bytes())
    assert told["photoshop:Credit"][0].startswith("The archive")
    assert ("Iptc4xmpExt:DigitalSourceType" in told) == marked


def test_a_picture_with_a_mark_is_another_one_than_without(
    photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image
):
    picture.save(tmp_path / "old.png")
    arguments = (tmp_path / "old.png", "--out", tmp_path / "out", "--model", generator)
    assert photo(*arguments).status == 0
    assert "1 already there" in photo(*arguments).out
    assert "exists and has another origin" in photo(*arguments, "--no-mark").err


def test_credentials_are_signed_and_read_back(photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image):
    chain, key = signing_files(tmp_path)
    folder, out = tmp_path / "album", tmp_path / "out"
    folder.mkdir()
    for suffix in (*MEDIA_TYPES, ".bmp"):
        picture.save(folder / f"old{suffix}")
    signing = ("--sign-key", key, "--sign-certificates", chain)
    done = photo(folder, "--out", out, "--model", generator, *signing)
    assert done.status == 0, done.err
    for suffix, media_type in MEDIA_TYPES.items():
        content = (out / f"old-colorized{suffix}").read_bytes()
        found = read_credentials(content, media_type)
        assert found["validation_state"] == "Valid", suffix
        (actions,) = [one for one in found["assertions"] if one["label"].startswith("c2pa.actions")]
        assert actions["data"]["actions"][0]["digitalSourceType"] == SOURCE_TYPE
        assert "colorizer, weights" in actions["data"]["actions"][0]["description"]
        assert found["signature_info"]["common_name"] == "Archive"
        assert marks(content)["Iptc4xmpExt:DigitalSourceType"] == [SOURCE_TYPE]
    changed = bytearray((out / "old-colorized.png").read_bytes())
    changed[-20] ^= 1  # in the pixels
    assert read_credentials(bytes(changed), "image/png")["validation_state"] == "Invalid"


def test_a_key_that_cannot_sign_is_refused_before_anything_is_colored(
    photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image
):
    picture.save(tmp_path / "old.png")
    chain, key = signing_files(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    foreign, _ = signing_files(other)
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nothing", encoding="utf-8")
    for arguments, words in (
        (("--sign-key", key), "belong together"),
        (("--sign-key", tmp_path / "none.pem", "--sign-certificates", chain), "none.pem: No such file"),
        (("--sign-key", nonsense, "--sign-certificates", chain), "nonsense.pem: no private key"),
        (("--sign-key", key, "--sign-certificates", nonsense), "nonsense.pem: no certificate"),
        (("--sign-key", key, "--sign-certificates", foreign), "cannot be signed"),
    ):
        done = photo(tmp_path / "old.png", "--out", tmp_path / "out", "--model", generator, *arguments)
        assert (done.status, words in done.err) == (1, True), done.err
        assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_gray_of_16_bits_becomes_color_of_16_bits_with_its_lightness(
    photo: Photo, tmp_path: Path, generator: Path, suffix: str
):
    y, x = np.mgrid[0:60, 0:90]
    gray = (x * 700 + y * 37).astype(np.uint16)
    Image.fromarray(gray).save(tmp_path / f"old{suffix}")
    assert photo(tmp_path / f"old{suffix}", "--out", tmp_path / "out", "--model", generator).status == 0
    path = tmp_path / "out" / f"old-colorized{suffix}"
    if suffix == ".tif":
        colored = tifffile.imread(path)
    else:
        import imagecodecs

        colored = imagecodecs.png_decode(path.read_bytes())
    assert (colored.dtype, colored.shape) == (np.uint16, (60, 90, 3))
    assert np.ptp(colored.astype(int), axis=2).max() > 2000, "it has colors"
    encoded = colored / 65535
    light = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    luminance = light @ (0.212671, 0.715160, 0.072169)
    again = np.where(luminance <= 0.0031308, luminance * 12.92, 1.055 * luminance ** (1 / 2.4) - 0.055) * 65535
    assert np.abs(again.round() - gray).max() <= 1
    assert (again.round() == gray).mean() > 0.99


def test_all_pages_of_a_tiff_are_colored(photo: Photo, tmp_path: Path, generator: Path):
    x = np.mgrid[0:60, 0:90][1]
    pages = [((x + shift) % 90 * 700).astype(np.uint32)[..., None] for shift in (0, 30, 60)]
    (tmp_path / "old.tif").write_bytes(tiff(pages, 16, 1, order=">", compression="LZW"))
    done = photo(tmp_path / "old.tif", "--out", tmp_path / "out", "--model", generator, "--samples", 2)
    assert done.status == 0, done.err
    assert pictures(tmp_path / "out") == ["old-colorized-1.tif", "old-colorized-2.tif"]
    first, second = (tifffile.imread(tmp_path / "out" / f"old-colorized-{number}.tif") for number in (1, 2))
    assert first.shape == second.shape == (3, 60, 90, 3)
    assert not np.array_equal(first, second)
    for colored, page in zip(first, pages, strict=True):
        assert np.abs(colored.astype(int).mean(axis=2) - page[..., 0]).mean() < 9000
    chain, key = signing_files(tmp_path)
    signing = ("--sign-key", key, "--sign-certificates", chain)
    done = photo(tmp_path / "old.tif", "--out", tmp_path / "signed", "--model", generator, *signing)
    assert done.status == 1
    assert "a TIFF of several pages cannot be signed" in done.err
    broken = tiff(pages[:2], 16, 1)
    (tmp_path / "broken.tif").write_bytes(broken[: len(broken) - 400] + bytes(400))
    done = photo(tmp_path / "broken.tif", "--out", tmp_path / "out", "--model", generator)
    assert done.status in (0, 1)
    assert "Traceback" not in done.err


def test_opacity_is_kept_on_request(photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image):
    clear = picture.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(picture.size))
    clear.save(tmp_path / "old.png")
    arguments = (tmp_path / "old.png", "--model", generator)
    assert photo(*arguments, "--out", tmp_path / "kept", "--keep-alpha").status == 0
    assert photo(*arguments, "--out", tmp_path / "white").status == 0
    with Image.open(tmp_path / "kept" / "old-colorized.png") as kept:
        assert np.array_equal(np.asarray(kept)[..., 3], np.asarray(clear)[..., 3])
    with Image.open(tmp_path / "white" / "old-colorized.png") as white:
        assert white.mode == "RGB"


def test_heic_avif_and_jpeg_2000_are_colored_and_raw_files_are_passed_by(
    photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image
):
    folder, out = tmp_path / "album", tmp_path / "out"
    folder.mkdir()
    for name in ("a.heic", "b.avif", "c.jp2"):
        picture.save(folder / name)
    for name in ("d.nef", "e.CR3"):
        (folder / name).write_bytes(b"raw")
    done = photo(folder, "--out", out, "--model", generator)
    assert done.status == 0, done.err
    assert pictures(out) == ["a.heic-colorized.jpg", "b.avif-colorized.jpg", "c.jp2-colorized.tif"]
    for name in ("d.nef", "e.CR3"):
        assert f"{name}: a camera's raw file; develop it first" in done.err
    alone = photo(folder / "d.nef", "--out", out, "--model", generator)
    assert alone.status == 1
    assert "develop it first" in alone.err


def test_the_server_marks_keeps_opacity_and_colors_the_page_that_is_asked_for(
    workplace: Path, generator: Path, picture: Image.Image
):
    pages = io.BytesIO()
    clear = picture.convert("RGBA")
    clear.putalpha(200)
    clear.save(pages, "TIFF", save_all=True, append_images=[clear.resize((45, 30))])
    with TestClient(create_app(ServedFolder(generator), Limits()), "http://localhost") as client:
        until_ready(client)
        first, second, third, kept = (
            client.post(f"/v1/colorize{query}", content=pages.getvalue())
            for query in ("", "?page=2", "?page=3", "?alpha=keep")
        )
    assert (first.status_code, second.status_code, third.status_code) == (200, 200, 422)
    assert third.json()["detail"] == "there is no page 3: it has 2"
    assert (first.headers["Pages"], second.headers["Pages"]) == ("2", "2")
    with Image.open(io.BytesIO(first.content)) as one, Image.open(io.BytesIO(second.content)) as two:
        assert (one.size, two.size) == (picture.size, (45, 30))
        assert one.mode == "RGB"
    with Image.open(io.BytesIO(kept.content)) as opened:
        assert np.asarray(opened).shape[2] == 4
    assert marks(first.content)["Iptc4xmpExt:DigitalSourceType"] == [SOURCE_TYPE]
    with TestClient(
        create_app(ServedFolder(generator), Limits(), (), Delivery(mark=False)), "http://localhost"
    ) as client:
        until_ready(client)
        assert marks(client.post("/v1/colorize", content=pages.getvalue()).content) == {}
