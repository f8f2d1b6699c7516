"""Tests of `colorize photo` after an interruption and over pictures of another origin."""

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.model.inference.test_colorizer import generator_folder
from tests.support.photo import COLORIZE, Photo, colorize, generator, photo, picture, pictures

__all__ = ["colorize", "generator", "photo", "picture"]


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generator_folder(tmp_path_factory.mktemp("another"), gain=2.0)


def times(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in pictures(folder)}


@pytest.mark.parametrize(("how", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 75), (signal.SIGTERM, 75)])
def test_a_second_call_keeps_finished_pictures_and_makes_the_rest(
    photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image, how: signal.Signals, status: int
):
    album, out = tmp_path / "album", tmp_path / "out"
    (album / "sea").mkdir(parents=True)
    for number in range(30):
        picture.resize((900, 600)).save(album / "sea" / f"{number}.jpg", comment=str(number).encode())
    arguments = (album, "--out", out, "--model", generator)
    with subprocess.Popen([COLORIZE, "photo", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while len(list(out.glob("sea/[0-9]*"))) < 4:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(how)
        _, error = process.communicate()
    assert process.returncode == status, error
    assert b"Traceback" not in error
    assert (b"run the same command again to resume" in error) == (status == 75)
    before = {name: when for name, when in times(out).items() if not name.endswith(".partial")}
    assert 4 <= len(before) < 30
    again = photo(*arguments)
    assert again.status == 0
    assert "error" not in again.err
    assert f"{30 - len(before)} colored, {len(before)} already there, 0 failed." in again.out
    after = times(out)
    assert sorted(after) == sorted(f"sea/{number}-colorized.jpg" for number in range(30))
    assert before.items() <= after.items()
    for name in after:
        with Image.open(out / name) as whole:
            whole.load()
    assert "0 colored, 30 already there" in photo(*arguments).out


@pytest.mark.parametrize("what", ["seed", "model", "photograph", "picture", "name"])
def test_a_picture_of_another_origin_is_not_counted_and_not_replaced(
    photo: Photo, tmp_path: Path, generator: Path, another: Path, picture: Image.Image, what: str
):
    source, out = tmp_path / "old.png", tmp_path / "out"
    picture.save(source)
    target, arguments = out / "old-colorized.png", [source, "--out", out, "--model", generator]
    assert photo(*arguments).status == 0
    if what == "seed":
        arguments += ["--seed", 1]
    elif what == "model":
        arguments[-1] = another
    elif what == "photograph":
        picture.rotate(180).save(source)
    elif what == "picture":
        picture.save(target)
    else:  # the photograph of another folder, which has the same name
        (tmp_path / "elsewhere").mkdir()
        picture.rotate(180).save(tmp_path / "elsewhere" / "old.png")
        arguments[0] = tmp_path / "elsewhere"
    before = target.read_bytes()
    done = photo(*arguments)
    assert done.status == 1
    assert "0 colored, 0 already there, 1 failed." in done.out
    assert "old-colorized.png exists and has another origin" in done.err
    assert target.read_bytes() == before
    assert "1 colored, 0 already there" in photo(*arguments, "--overwrite").out
    assert target.read_bytes() != before
    assert "0 colored, 1 already there" in photo(*arguments).out


def test_only_the_missing_samples_are_made(photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image):
    out = tmp_path / "out"
    picture.save(tmp_path / "old.png")
    arguments = (tmp_path / "old.png", "--out", out, "--model", generator, "--samples")
    assert photo(*arguments, 3).status == 0
    before, second = times(out), (out / "old-colorized-2.png").read_bytes()
    (out / "old-colorized-2.png").unlink()
    assert "1 colored, 0 already there, 0 failed." in photo(*arguments, 4).out
    after = times(out)
    assert [name for name in after if after[name] != before.get(name)] == ["old-colorized-2.png", "old-colorized-4.png"]
    assert (out / "old-colorized-2.png").read_bytes() == second
    assert "1 colored, 0 already there" in photo(*arguments, 1).out  # old-colorized.png


def test_a_full_disk_stops_with_a_sentence_after_the_pictures_that_fit(
    photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    album, out = tmp_path / "album", tmp_path / "out"
    album.mkdir()
    for number in range(30):
        picture.save(album / f"{number:02}.jpg", comment=str(number).encode())
    arguments, fit, write = (album, "--out", out, "--model", generator), iter(range(5)), Path.write_bytes

    def until_full(path: Path, content: bytes) -> int:
        if next(fit, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", until_full)
        done = photo(*arguments)
    assert done.status == 1
    assert "5 colored, 0 already there, 1 failed." in done.out
    assert f"error: {out}: No space left on device; make room, then run the same command again" in done.err
    assert done.err.count("error: ") == 1
    assert len(pictures(out)) == 5
    assert "25 colored, 5 already there, 0 failed." in photo(*arguments).out
