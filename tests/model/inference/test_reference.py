"""Tests of a reference: what two photographs have in common gets the reference's colors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model import color
from model.data.images import decode
from model.inference.colorizer import Colorizer
from model.inference.hints import parse_hints
from model.inference.reference import Reference
from model.utils.errors import UserError
from tests.model.inference.test_colorizer import generator_folder, lightness
from tests.model.inference.test_hints import BLUE, hinted_folder


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Colorizer:
    return Colorizer.load(hinted_folder(tmp_path_factory.mktemp("generator")))


@pytest.fixture(scope="module")
def photograph(photos: Path) -> np.ndarray:
    return np.asarray(decode(sorted((photos / "scratch").glob("*.jpg"))[0]).image.resize((90, 60)))


def test_the_same_photograph_gives_its_own_colors(subject: Colorizer, photograph: np.ndarray):
    lab = color.srgb_to_lab(torch.tensor(photograph).permute(2, 0, 1))
    hints = Reference.read(subject.generator, lab).hints(subject.generator, lab[:1])
    seen = hints[2] > 0
    assert 0.1 < seen.float().mean() <= 1
    error = (110 * hints[:2] - lab[1:])[:, seen].abs().mean()
    assert error < 0.5 * lab[1:, seen].abs().mean(), "a hint should have the color of its place"


def test_what_has_nothing_in_common_gives_no_hints(subject: Colorizer, photograph: np.ndarray):
    flat = torch.full((3, 60, 90), 50.0)
    lab = color.srgb_to_lab(torch.tensor(photograph).permute(2, 0, 1))
    hints = Reference.read(subject.generator, flat).hints(subject.generator, lab[:1])
    assert (hints[2] > 0).float().mean() < 0.1


def test_a_reference_changes_the_coloring_and_hints_cover_it(subject: Colorizer, photograph: np.ndarray):
    gray = np.repeat(lightness(photograph).clip(0, 100)[..., None] * 2.55, 3, axis=2).astype(np.uint8)
    like = subject.reference(photograph)
    automatic, alike = subject.colorize(gray)[0], subject.colorize(gray, like=like)[0]
    assert np.abs(alike.astype(int) - automatic).max() > 5
    assert np.abs(lightness(alike) - lightness(gray)).max() < 0.5
    hinted = subject.colorize(gray, like=like, hints=parse_hints(BLUE, ""))[0]
    assert np.abs(hinted.astype(int) - alike).max() > 5
    assert np.array_equal(alike, subject.colorize(gray, like=subject.reference(photograph))[0])


def test_a_generator_without_hints_refuses_a_reference(tmp_path: Path, photograph: np.ndarray):
    with pytest.raises(UserError, match="takes no hints"):
        Colorizer.load(generator_folder(tmp_path)).reference(photograph)
