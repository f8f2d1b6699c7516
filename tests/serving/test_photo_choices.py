"""Tests of `colorize photo` with strength and hints."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.model.inference.test_hints import BLUE, RED, hinted_folder
from tests.support.photo import Photo, colorize, generator, migrated, photo, picture, pictures, workplace

__all__ = ["colorize", "generator", "migrated", "photo", "picture", "workplace"]


@pytest.fixture(scope="module")
def hinted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hinted_folder(tmp_path_factory.mktemp("hinted"))


def chroma(path: Path) -> float:
    with Image.open(path) as image:
        return float(np.ptp(np.asarray(image).astype(int), axis=2).mean())


def test_strength_makes_colors_stronger_or_weaker(photo: Photo, tmp_path: Path, hinted: Path, picture: Image.Image):
    picture.save(tmp_path / "old.png")
    found = {}
    for strength in ("0", "0.5", "1", "1.5"):
        out = tmp_path / f"out-{strength}"
        done = photo(tmp_path / "old.png", "--out", out, "--model", hinted, "--strength", strength)
        assert done.status == 0, done.err
        found[strength] = chroma(out / "old-colorized.png")
    assert found["0"] < 1
    assert found["0"] < found["0.5"] < found["1"] < found["1.5"]
    again = photo(tmp_path / "old.png", "--out", tmp_path / "out-1", "--model", hinted, "--strength", "0.5")
    assert again.status == 1
    assert "has another origin (another model, seed, label, strength or reference" in again.err
    assert photo(tmp_path / "old.png", "--out", tmp_path / "out-1", "--model", hinted).out.startswith("0 colored, 1 al")


@pytest.mark.parametrize("strength", ["1.6", "-1", "nan", "strong"])
def test_a_strength_out_of_range_is_refused(photo: Photo, tmp_path: Path, picture: Image.Image, strength: str):
    picture.save(tmp_path / "old.png")
    done = photo(tmp_path / "old.png", "--out", tmp_path / "out", "--strength", strength)
    assert done.status in (1, 2)
    assert "strength" in done.err
    assert "Traceback" not in done.err


def test_hints_beside_a_photograph_are_used_and_a_change_of_them_is_noticed(
    photo: Photo, tmp_path: Path, hinted: Path, picture: Image.Image
):
    folder, out = tmp_path / "old", tmp_path / "out"
    folder.mkdir()
    contents = []
    for name in ("a.png", "b.png"):
        picture.save(folder / name)
    for hints in (None, BLUE, RED):
        if hints:
            (folder / "a.png.hints.json").write_text(hints, encoding="utf-8")
            assert photo(folder, "--out", out, "--model", hinted).status == 1, "another origin"
        done = photo(folder, "--out", out, "--model", hinted, "--overwrite")
        assert done.status == 0, done.err
        assert pictures(out) == ["a-colorized.png", "b-colorized.png"]
        contents.append((out / "a-colorized.png").read_bytes())
    assert len(set(contents)) == 3
    assert contents[0] == (out / "b-colorized.png").read_bytes()
    assert photo(folder, "--out", out, "--model", hinted).out.startswith("0 colored, 2 already there")


def test_mistakes_in_hints_fail_their_photograph_alone(
    photo: Photo, tmp_path: Path, hinted: Path, picture: Image.Image
):
    for name in ("a.png", "b.png"):
        picture.save(tmp_path / name)
    (tmp_path / "a.png.hints.json").write_text('[{"color": "blau", "points": [[0, 0]]}]', encoding="utf-8")
    done = photo(tmp_path, "--out", tmp_path / "out", "--model", hinted)
    assert done.status == 1
    assert "a.png.hints.json: 0.color should be a color" in done.err
    assert pictures(tmp_path / "out") == ["b-colorized.png"]


def test_hints_that_are_a_pipe_are_named(photo: Photo, tmp_path: Path, hinted: Path, picture: Image.Image):
    picture.save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "a.png.hints.json")
    done = photo(tmp_path, "--out", tmp_path / "out", "--model", hinted)
    assert done.status == 1
    assert "a.png: a.png.hints.json: not a regular file." in done.err


def test_a_model_without_hints_says_so(photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image):
    for name in ("a.png", "b.png"):
        picture.save(tmp_path / name)
    (tmp_path / "a.png.hints.json").write_text(BLUE, encoding="utf-8")
    done = photo(tmp_path, "--out", tmp_path / "out", "--model", generator)
    assert done.status == 1
    assert "a.png: this model takes no hints" in done.err
    assert pictures(tmp_path / "out") == ["b-colorized.png"]


def test_a_reference_gives_its_colors_to_what_is_like_it(
    photo: Photo, tmp_path: Path, hinted: Path, picture: Image.Image
):
    picture.save(tmp_path / "reference.png")
    picture.convert("L").save(tmp_path / "old.png")
    contents = []
    given = ("--like", tmp_path / "reference.png")
    for like in ((), given):
        done = photo(tmp_path / "old.png", "--out", tmp_path / "out", "--model", hinted, "--overwrite", *like)
        assert done.status == 0, done.err
        contents.append((tmp_path / "out" / "old-colorized.png").read_bytes())
    assert contents[0] != contents[1]
    again = photo(tmp_path / "old.png", "--out", tmp_path / "out", "--model", hinted)
    assert (again.status, "strength or reference" in again.err) == (1, True)
    kept = photo(
        tmp_path / "old.png", "--out", tmp_path / "out", "--model", hinted, "--like", tmp_path / "reference.png"
    )
    assert kept.out.startswith("0 colored, 1 already there")


@pytest.mark.parametrize(
    ("model", "reference", "words"),
    [
        ("hinted", "gray.png", "--like: {}/gray.png has no colors; give a photograph in color"),
        ("hinted", "nowhere.png", "nowhere.png: cannot be read: No such file"),
        ("generator", "color.png", "this model takes no hints"),
    ],
)
def test_a_reference_that_cannot_be_used_gives_one_sentence(
    photo: Photo,
    tmp_path: Path,
    picture: Image.Image,
    request: pytest.FixtureRequest,
    model: str,
    reference: str,
    words: str,
):
    picture.save(tmp_path / "color.png")
    picture.convert("L").save(tmp_path / "gray.png")
    folder = request.getfixturevalue(model)
    done = photo(tmp_path / "gray.png", "--out", tmp_path / "out", "--model", folder, "--like", tmp_path / reference)
    assert done.status == 1
    assert words.format(tmp_path) in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
