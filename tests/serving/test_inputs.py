"""Tests of what `colorize photo` takes for photographs to color, and what it passes by with a word."""

import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from tests.support.photo import Photo, colorize, generator, photo, picture, pictures

__all__ = ["colorize", "generator", "photo", "picture"]


@pytest.fixture
def album(tmp_path: Path, picture: Image.Image) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    picture.save(folder / "own.jpg")
    return folder


@pytest.fixture
def odd(album: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Returns the odd files of the album, with the reasons to pass them by."""
    (album / "nowhere.jpg").symlink_to("gone.jpg")
    (album / "itself.jpg").symlink_to("itself.jpg")
    (album / "above").symlink_to("..")
    os.mkfifo(album / "pipe.jpg")
    monkeypatch.chdir(album)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.jpg")
    for name in (b"caf\xe9.jpg", b"na\xefve/old.jpg"):
        place = Path(os.fsdecode(name))
        place.parent.mkdir(exist_ok=True)
        place.write_bytes((album / "own.jpg").read_bytes())
    return {
        "nowhere.jpg": "a link that leads nowhere",
        "itself.jpg": "a link that leads to itself",
        "pipe.jpg": "neither a file nor a link to one",
        "socket.jpg": "neither a file nor a link to one",
        "caf\N{REPLACEMENT CHARACTER}.jpg": "a name that is not UTF-8",
        "na\N{REPLACEMENT CHARACTER}ve/old.jpg": "a name that is not UTF-8",
    }


def test_odd_files_are_passed_by_with_a_word(photo: Photo, album: Path, odd: dict[str, str], generator: Path):
    done = photo(album, "--out", album / "out", "--model", generator)
    assert done.status == 0, done.err
    assert "1 colored, 0 already there, 0 failed." in done.out
    said = [line for line in done.err.splitlines() if line.startswith("passed by: ")]
    assert sorted(said) == sorted(f"passed by: {album}/{name}: {reason}." for name, reason in odd.items())
    assert pictures(album / "out") == ["own-colorized.jpg"]


def test_a_folder_of_odd_files_alone_is_no_error(photo: Photo, tmp_path: Path):
    (tmp_path / "nowhere.jpg").symlink_to("gone.jpg")
    done = photo(tmp_path, "--out", tmp_path / "out")
    assert done.status == 0
    assert "0 colored, 0 already there, 0 failed." in done.out
    assert "nowhere.jpg: a link that leads nowhere" in done.err


def test_a_folder_whose_own_name_is_not_utf8_is_colored(photo: Photo, album: Path, generator: Path):
    folder = album.rename(os.fsdecode(bytes(album) + b"\xe9"))
    out = folder.parent / os.fsdecode(b"out\xe9")
    for said in ("1 colored, 0 already", "0 colored, 1 already"):
        done = photo(folder, "--out", out, "--model", generator)
        assert done.status == 0, done.err
        assert said in done.out
    assert pictures(out) == ["own-colorized.jpg"]


def test_results_of_earlier_runs_are_passed_by_with_a_word(photo: Photo, album: Path, generator: Path):
    (album / "sea").mkdir()
    (album / "sea" / "old.jpg").write_bytes((album / "own.jpg").read_bytes())
    results = ["own-colorized.jpg", "sea/old-colorized.jpg"]
    for name in ("first", "second", "third"):
        done = photo(album, "--out", album / name, "--model", generator)
        assert done.status == 0, done.err
        assert "2 colored" in done.out
        assert pictures(album / name) == results
    for name in ("first", "second"):
        for result in results:
            assert f"{name}/{result}: a picture that an earlier call made" in done.err
    (album / "first" / "new.jpg").write_bytes((album / "own.jpg").read_bytes())
    done = photo(album / "first", "--out", album.parent / "out", "--model", generator)
    assert "1 colored" in done.out
    assert done.err.count("passed by") == 2
    done = photo(album / "first" / "own-colorized.jpg", "--out", album.parent / "named", "--model", generator)
    assert "1 colored" in done.out


@pytest.mark.parametrize("target", ["loop", "nowhere"])
def test_an_output_folder_that_is_a_link_to_none_is_refused(photo: Photo, album: Path, target: str):
    (album / "loop").symlink_to(target)
    done = photo(album, "--out", album / "loop")
    assert done.status == 1
    assert (
        done.err == f"error: --out: {album}/loop is a link that leads to no folder; choose another folder for --out.\n"
    )


def test_a_long_name_is_written(photo: Photo, album: Path, generator: Path):
    (album / "own.jpg").rename(album / f"{'写' * 80}.jpg")
    done = photo(album, "--out", album / "out", "--model", generator)
    assert done.status == 0, done.err
    assert pictures(album / "out") == [f"{'写' * 80}-colorized.jpg"]
