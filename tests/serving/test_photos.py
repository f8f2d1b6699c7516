"""Tests of `colorize photo`: formats, folders, user mistakes, and files that it must keep."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from tests.model.inference.test_colorizer import generator_folder, lightness
from tests.support.patience import patience
from tests.support.photo import COLORIZE, Photo, colorize, generator, migrated, photo, picture, pictures, workplace

__all__ = ["colorize", "generator", "migrated", "photo", "picture", "workplace"]

FORMATS = {
    "a.jpg": ("JPEG", "L"), "b.png": ("PNG", "I;16"), "c.webp": ("WEBP", "RGB"), "d.tiff": ("TIFF", "L"),
    "e.bmp": ("BMP", "RGB"), "f.jpeg": ("JPEG", "CMYK"), "g.png": ("PNG", "P"),
}  # fmt: skip


def as_mode(picture: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    return picture.convert(mode)


def test_photographs_of_every_format_are_colored(photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image):
    folder, out = tmp_path / "old", tmp_path / "out"
    (folder / "album").mkdir(parents=True)
    for name, (file_format, mode) in FORMATS.items():
        as_mode(picture, mode).save(folder / "album" / name, file_format)
    as_mode(picture, "L").save(folder / "moving.gif")
    (folder / "notes.txt").write_text("not a photograph", encoding="utf-8")
    done = photo(folder, "--out", out, "--model", generator)
    assert done.status == 0, done.err
    expected = [f"album/{Path(name).stem}-colorized{Path(name).suffix}" for name in FORMATS]
    assert pictures(out) == sorted([*expected, "moving.gif-colorized.jpg"])
    for name, (file_format, _) in FORMATS.items():
        with Image.open(out / "album" / f"{Path(name).stem}-colorized{Path(name).suffix}") as colored:
            assert (colored.format, colored.mode, colored.size) == (file_format, "RGB", picture.size)
            assert np.ptp(np.asarray(colored).astype(int), axis=2).max() > 10, name


def test_a_lossless_file_keeps_its_lightness(photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image):
    picture.save(tmp_path / "old.png")
    assert photo(tmp_path / "old.png", "--out", tmp_path / "out", "--model", generator).status == 0
    colored = np.asarray(Image.open(tmp_path / "out" / "old-colorized.png"))
    assert np.abs(lightness(colored) - lightness(np.asarray(picture))).max() < 0.5


def test_exif_and_icc_are_kept_and_the_orientation_is_applied(
    photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image
):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "Somebody"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.save(tmp_path / "old.jpg", exif=exif, icc_profile=icc)
    assert photo(tmp_path / "old.jpg", "--out", tmp_path / "out", "--model", generator).status == 0
    with Image.open(tmp_path / "out" / "old-colorized.jpg") as colored:
        assert colored.size == (60, 90)
        assert colored.getexif()[ExifTags.Base.Artist] == "Somebody"
        assert colored.getexif().get(ExifTags.Base.Orientation, 1) == 1
        assert colored.info["icc_profile"] == icc


def test_damaged_files_are_listed_and_the_rest_is_colored(
    photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image
):
    folder, out = tmp_path / "old", tmp_path / "out"
    folder.mkdir()
    picture.save(folder / "good.jpg")
    (folder / "fake.jpg").write_text("no picture", encoding="utf-8")
    (folder / "short.jpg").write_bytes((folder / "good.jpg").read_bytes()[:900])
    done = photo(folder, "--out", out, "--model", generator)
    assert done.status == 1
    assert pictures(out) == ["good-colorized.jpg"]
    for name in ("fake.jpg", "short.jpg"):
        assert name in done.err
    assert "Traceback" not in done.err
    assert len(re.findall(r"^error: ", done.err, re.MULTILINE)) == 2


def test_files_are_overwritten_only_with_the_option(
    photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image
):
    picture.save(tmp_path / "old.png")
    target = tmp_path / "out" / "old-colorized.png"
    target.parent.mkdir()
    target.write_text("mine", encoding="utf-8")
    done = photo(tmp_path / "old.png", "--out", tmp_path / "out", "--model", generator)
    assert done.status == 1
    assert "old-colorized.png exists and has another origin" in done.err
    assert target.read_text(encoding="utf-8") == "mine"
    again = photo(tmp_path / "old.png", "--out", tmp_path / "out", "--model", generator, "--overwrite")
    assert again.status == 0
    assert Image.open(target).size == picture.size


def test_samples_are_numbered_and_a_seed_repeats_its_colorings(
    photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image
):
    picture.save(tmp_path / "old.png")
    contents = []
    for out in ("first", "second"):
        arguments = ("--out", tmp_path / out, "--model", generator, "--samples", 3, "--seed", 7)
        assert photo(tmp_path / "old.png", *arguments).status == 0
        contents.append([path.read_bytes() for path in sorted((tmp_path / out).glob("*.png"))])
    assert pictures(tmp_path / "first") == [f"old-colorized-{n}.png" for n in (1, 2, 3)]
    assert contents[0] == contents[1]
    assert len(set(contents[0])) == 3


def test_photographs_that_differ_only_in_suffix_get_separate_pictures(
    photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image
):
    folder = tmp_path / "old"
    folder.mkdir()
    picture.save(folder / "a.jpg")
    picture.save(folder / "a.gif")
    assert photo(folder, "--out", tmp_path / "out", "--model", generator).status == 0
    assert pictures(tmp_path / "out") == ["a-colorized.jpg", "a.gif-colorized.jpg"]


def test_no_photograph_and_no_picture_of_another_photograph_is_overwritten(
    photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image
):
    for name in ("one/a.jpg", "two/a.jpg", "three/b.png", "three/b-colorized.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture.save(tmp_path / name)
    before = (tmp_path / "three/b-colorized.png").read_bytes()
    same = photo(
        tmp_path / "one/a.jpg", tmp_path / "two/a.jpg", "--out", tmp_path / "out", "--model", generator, "--overwrite"
    )
    assert same.status == 1
    assert "is the coloring of" in same.err
    inputs = (tmp_path / "three/b.png", tmp_path / "three/b-colorized.png")
    onto = photo(*inputs, "--out", tmp_path / "three", "--model", generator, "--overwrite")
    assert onto.status == 1
    assert "is an input photograph" in onto.err
    assert (tmp_path / "three/b-colorized.png").read_bytes() == before
    into = photo(tmp_path / "three", "--out", tmp_path / "three", "--model", generator)
    assert into.status == 1
    assert "choose another folder for --out" in into.err


def test_a_pipe_is_not_opened(photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image):
    folder = tmp_path / "old"
    folder.mkdir()
    picture.save(folder / "a.jpg")
    picture.save(folder / ".hidden.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    done = photo(folder, folder / "pipe.jpg", "--out", tmp_path / "out", "--model", generator)
    assert done.status == 1
    assert "passed by: " in done.err
    assert "pipe.jpg: not a regular file" in done.err
    assert pictures(tmp_path / "out") == ["a-colorized.jpg"]


def test_a_file_name_with_escape_sequences_is_printed_without_them(
    photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image
):
    picture.save(tmp_path / "a.png")
    (tmp_path / "\x1b[2Jb.png").write_text("no photograph", encoding="utf-8")
    done = photo(tmp_path, "--out", tmp_path / "out", "--model", generator)
    assert done.status == 1
    assert "\x1b[2J" not in done.err + done.out
    assert "[2Jb.png: not a JPEG" in done.err


def test_an_output_folder_inside_the_input_is_not_colored(
    photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image
):
    picture.save(tmp_path / "old.jpg")
    for _ in range(2):
        done = photo(tmp_path, "--out", tmp_path / "colored", "--model", generator, "--overwrite")
        assert done.status == 0, done.err
    assert pictures(tmp_path / "colored") == ["old-colorized.jpg"]


def test_links_out_of_the_folder_are_not_followed(photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image):
    folder, elsewhere = tmp_path / "old", tmp_path / "private"
    folder.mkdir()
    elsewhere.mkdir()
    picture.save(elsewhere / "secret.jpg")
    picture.save(folder / "own.jpg")
    (folder / "link.jpg").symlink_to(elsewhere / "secret.jpg")
    (folder / "links").symlink_to(elsewhere)
    assert photo(folder, "--out", tmp_path / "out", "--model", generator).status == 0
    assert pictures(tmp_path / "out") == ["own-colorized.jpg"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.jpg", "--out", "out"), "nowhere.jpg: no such file"),
        ((".", "--out", "out"), "no photographs"),
        (("a.png", "--out", "out", "--model", "models:/other/1"), "models:/colorizer"),
    ],
)
def test_a_user_mistake_prints_one_sentence(
    photo: Photo, workplace: Path, picture: Image.Image, arguments: tuple[str, ...], words: str
):
    if arguments[0] == "a.png":
        picture.save("a.png")
    done = photo(*arguments)
    assert done.status == 1
    assert words in done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1


def test_the_command_looks_an_alias_up_in_the_registry(workplace: Path, picture: Image.Image):
    picture.save("a.png")
    command = [COLORIZE, "photo", "a.png", "--out", "out", "--model", "models:/colorizer@previous"]
    environment = os.environ | {"COLORIZE_WORKSPACE": str(workplace / "workspace")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=patience(200))
    assert (done.returncode, done.stdout) == (1, "")
    here = f"sqlite:///{workplace / 'workspace' / 'mlflow.db'}"
    assert done.stderr == f"error: There is no previous yet at {here}; `colorize models` lists all versions.\n"


def test_a_label_changes_the_coloring_and_an_unknown_one_is_refused(photo: Photo, tmp_path: Path, picture: Image.Image):
    generator = generator_folder(tmp_path / "generator", "generator.labels=[day, night]")
    picture.save(tmp_path / "old.png")
    contents = []
    for label in ((), ("--label", "day"), ("--label", "night")):
        out = tmp_path / "-".join(("out", *label))
        done = photo(tmp_path / "old.png", "--out", out, "--model", generator, *label)
        assert done.status == 0, done.err
        contents.append((out / "old-colorized.png").read_bytes())
    assert len(set(contents)) == 3
    done = photo(tmp_path / "old.png", "--out", tmp_path / "none", "--model", generator, "--label", "noon")
    assert done.status == 1
    assert done.err == "error: this model does not know the label noon: it knows day, night.\n"
    assert not (tmp_path / "none").exists()
