"""Tests of `colorize photo` with strength and hints."""

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
    assert "has another origin (another model, seed, label or strength" in again.err
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


def test_a_model_without_hints_says_so(photo: Photo, tmp_path: Path, generator: Path, picture: Image.Image):
    for name in ("a.png", "b.png"):
        picture.save(tmp_path / name)
    (tmp_path / "a.png.hints.json").write_text(BLUE, encoding="utf-8")
    done = photo(tmp_path, "--out", tmp_path / "out", "--model", generator)
    assert done.status == 1
    assert "a.png: this model takes no hints" in done.err
    assert pictures(tmp_path / "out") == ["b-colorized.png"]
