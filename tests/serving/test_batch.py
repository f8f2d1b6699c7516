"""`colorize photo` through its own command: formats, folders, mistakes, nothing lost, nothing half-written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from tests.model.test_colorizer import generator_folder, lightness

COLORIZE = Path(sys.executable).with_name("colorize")
FORMATS = {
    "a.jpg": ("JPEG", "L"), "b.png": ("PNG", "I;16"), "c.webp": ("WEBP", "RGB"), "d.tiff": ("TIFF", "L"),
    "e.bmp": ("BMP", "RGB"), "f.jpeg": ("JPEG", "CMYK"), "g.png": ("PNG", "P"),
}  # fmt: skip


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generator_folder(tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def picture(photos: Path) -> Image.Image:
    return Image.open(sorted((photos / "scratch").glob("*.jpg"))[0]).convert("RGB").resize((90, 60))


def photo(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [COLORIZE, "photo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


def as_mode(picture: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    return picture.convert(mode)


def test_a_folder_of_every_format(tmp_path: Path, generator: Path, picture: Image.Image):
    folder, out = tmp_path / "old", tmp_path / "out"
    (folder / "album").mkdir(parents=True)
    for name, (file_format, mode) in FORMATS.items():
        as_mode(picture, mode).save(folder / "album" / name, file_format)
    as_mode(picture, "L").save(folder / "moving.gif")
    (folder / "notes.txt").write_text("not a photograph", encoding="utf-8")
    done = photo(folder, "--out", out, "--model", generator)
    assert done.returncode == 0, done.stderr
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    expected = [f"album/{Path(name).stem}-colorized{Path(name).suffix}" for name in FORMATS]
    assert written == sorted([*expected, "moving.gif-colorized.jpg"])
    for name, (file_format, _) in FORMATS.items():
        with Image.open(out / "album" / f"{Path(name).stem}-colorized{Path(name).suffix}") as colored:
            assert (colored.format, colored.mode, colored.size) == (file_format, "RGB", picture.size)
            assert np.ptp(np.asarray(colored).astype(int), axis=2).max() > 10, name


def test_lightness_is_kept_in_a_file_without_loss(tmp_path: Path, generator: Path, picture: Image.Image):
    picture.save(tmp_path / "old.png")
    assert photo(tmp_path / "old.png", "--out", tmp_path / "out", "--model", generator).returncode == 0
    colored = np.asarray(Image.open(tmp_path / "out" / "old-colorized.png"))
    assert np.abs(lightness(colored) - lightness(np.asarray(picture))).max() < 0.5


def test_exif_and_icc_are_kept_and_orientation_is_applied(tmp_path: Path, generator: Path, picture: Image.Image):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "Somebody"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.save(tmp_path / "old.jpg", exif=exif, icc_profile=icc)
    assert photo(tmp_path / "old.jpg", "--out", tmp_path / "out", "--model", generator).returncode == 0
    with Image.open(tmp_path / "out" / "old-colorized.jpg") as colored:
        assert colored.size == (60, 90)
        assert colored.getexif()[ExifTags.Base.Artist] == "Somebody"
        assert colored.getexif().get(ExifTags.Base.Orientation, 1) == 1
        assert colored.info["icc_profile"] == icc


def test_bad_files_are_listed_and_the_rest_is_colored(tmp_path: Path, generator: Path, picture: Image.Image):
    folder, out = tmp_path / "old", tmp_path / "out"
    folder.mkdir()
    picture.save(folder / "good.jpg")
    (folder / "fake.jpg").write_text("no picture", encoding="utf-8")
    (folder / "short.jpg").write_bytes((folder / "good.jpg").read_bytes()[:900])
    done = photo(folder, "--out", out, "--model", generator)
    assert done.returncode == 1
    assert sorted(path.name for path in out.iterdir()) == ["good-colorized.jpg"]
    for name in ("fake.jpg", "short.jpg"):
        assert name in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2


def test_nothing_is_overwritten_unless_asked(tmp_path: Path, generator: Path, picture: Image.Image):
    picture.save(tmp_path / "old.png")
    target = tmp_path / "out" / "old-colorized.png"
    target.parent.mkdir()
    target.write_text("mine", encoding="utf-8")
    done = photo(tmp_path / "old.png", "--out", tmp_path / "out", "--model", generator)
    assert done.returncode == 1
    assert "old-colorized.png exists; --overwrite" in done.stderr
    assert target.read_text(encoding="utf-8") == "mine"
    again = photo(tmp_path / "old.png", "--out", tmp_path / "out", "--model", generator, "--overwrite")
    assert again.returncode == 0
    assert Image.open(target).size == picture.size


def test_samples_get_numbers_and_seeds_repeat(tmp_path: Path, generator: Path, picture: Image.Image):
    picture.save(tmp_path / "old.png")
    contents = []
    for out in ("first", "second"):
        arguments = ("--out", tmp_path / out, "--model", generator, "--samples", 3, "--seed", 7)
        assert photo(tmp_path / "old.png", *arguments).returncode == 0
        contents.append([path.read_bytes() for path in sorted((tmp_path / out).iterdir())])
    assert [path.name for path in sorted((tmp_path / "first").iterdir())] == [
        f"old-colorized-{n}.png" for n in (1, 2, 3)
    ]
    assert contents[0] == contents[1]
    assert len(set(contents[0])) == 3


def test_photographs_that_differ_in_suffix_alone_do_not_meet(tmp_path: Path, generator: Path, picture: Image.Image):
    folder = tmp_path / "old"
    folder.mkdir()
    picture.save(folder / "a.jpg")
    picture.save(folder / "a.gif")
    assert photo(folder, "--out", tmp_path / "out", "--model", generator).returncode == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a-colorized.jpg", "a.gif-colorized.jpg"}


def test_neither_a_photograph_nor_another_s_picture_is_written_over(
    tmp_path: Path, generator: Path, picture: Image.Image
):
    for name in ("one/a.jpg", "two/a.jpg", "three/b.png", "three/b-colorized.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture.save(tmp_path / name)
    before = (tmp_path / "three/b-colorized.png").read_bytes()
    same = photo(
        tmp_path / "one/a.jpg", tmp_path / "two/a.jpg", "--out", tmp_path / "out", "--model", generator, "--overwrite"
    )
    assert same.returncode == 1
    assert "was made of" in same.stderr
    inputs = (tmp_path / "three/b.png", tmp_path / "three/b-colorized.png")
    onto = photo(*inputs, "--out", tmp_path / "three", "--model", generator, "--overwrite")
    assert onto.returncode == 1
    assert "is itself to be colored" in onto.stderr
    assert (tmp_path / "three/b-colorized.png").read_bytes() == before
    into = photo(tmp_path / "three", "--out", tmp_path / "three", "--model", generator)
    assert into.returncode == 1
    assert "choose another folder for --out" in into.stderr


def test_what_is_no_file_is_not_waited_for(tmp_path: Path, generator: Path, picture: Image.Image):
    folder = tmp_path / "old"
    folder.mkdir()
    picture.save(folder / "a.jpg")
    picture.save(folder / ".hidden.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    done = photo(folder, "--out", tmp_path / "out", "--model", generator)
    assert done.returncode == 1
    assert "pipe.jpg: no regular file" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a-colorized.jpg"]


def test_a_name_cannot_command_the_terminal(tmp_path: Path, generator: Path, picture: Image.Image):
    picture.save(tmp_path / "a.png")
    (tmp_path / "\x1b[2Jb.png").write_text("no photograph", encoding="utf-8")
    done = photo(tmp_path, "--out", tmp_path / "out", "--model", generator)
    assert done.returncode == 1
    assert "\x1b[2J" not in done.stderr + done.stdout
    assert "[2Jb.png: not a JPEG" in done.stderr


def test_output_inside_the_folder_is_not_colored_again(tmp_path: Path, generator: Path, picture: Image.Image):
    picture.save(tmp_path / "old.jpg")
    for _ in range(2):
        done = photo(tmp_path, "--out", tmp_path / "colored", "--model", generator, "--overwrite")
        assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "colored").iterdir()] == ["old-colorized.jpg"]


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path, generator: Path, picture: Image.Image):
    folder, elsewhere = tmp_path / "old", tmp_path / "private"
    folder.mkdir()
    elsewhere.mkdir()
    picture.save(elsewhere / "secret.jpg")
    picture.save(folder / "own.jpg")
    (folder / "link.jpg").symlink_to(elsewhere / "secret.jpg")
    (folder / "links").symlink_to(elsewhere)
    assert photo(folder, "--out", tmp_path / "out", "--model", generator).returncode == 0
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["own-colorized.jpg"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.jpg", "--out", "out"), "nowhere.jpg: no such file"),
        ((".", "--out", "out"), "no photographs"),
        (("a.png", "--out", "out", "--model", "models:/colorizer@previous"), "There is no previous yet"),
        (("a.png", "--out", "out", "--model", "models:/other/1"), "models:/colorizer"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLORIZE_WORKSPACE", str(tmp_path / "workspace"))
    if arguments[0] == "a.png":
        picture.save(tmp_path / "a.png")
    done = photo(*arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    shutil.rmtree(tmp_path / "workspace", ignore_errors=True)


def test_a_label_colors_and_a_strange_one_ends_it_at_once(tmp_path: Path, picture: Image.Image):
    generator = generator_folder(tmp_path / "generator", "generator.labels=[day, night]")
    picture.save(tmp_path / "old.png")
    contents = []
    for label in ((), ("--label", "day"), ("--label", "night")):
        out = tmp_path / "-".join(("out", *label))
        done = photo(tmp_path / "old.png", "--out", out, "--model", generator, *label)
        assert done.returncode == 0, done.stderr
        contents.append((out / "old-colorized.png").read_bytes())
    assert len(set(contents)) == 3
    done = photo(tmp_path / "old.png", "--out", tmp_path / "none", "--model", generator, "--label", "noon")
    assert done.returncode == 1
    assert done.stderr == "error: this model does not know the label noon: it knows day, night.\n"
    assert not (tmp_path / "none").exists()
