"""Tests of a user's choices: strength scales chroma, hints reach the network, and mistakes give one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model import color
from model.data.images import decode
from model.inference.choices import Choices
from model.inference.colorizer import Colorizer, Input
from model.inference.hints import draw_hints, parse_hints
from model.inference.saved import load_generator, save_generator
from model.utils.errors import UserError
from tests.model.inference.test_colorizer import generator_folder, lightness

BLUE, RED = (f'[{{"color": "{name}", "points": [[0.5, 0.5]]}}]' for name in ("#2a4b8d", "firebrick"))


def hinted_folder(folder: Path) -> Path:
    """Saves an untrained generator whose hints act; returns its folder."""
    generator, info = load_generator(generator_folder(folder, "generator.hints=true", gain=1.0))
    torch.manual_seed(0)
    for layer in generator.hints.add:
        torch.nn.init.normal_(layer.weight, std=0.3)
    save_generator(folder, generator, crop=info.crop, size=info.size, images=0)
    return folder


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Colorizer:
    return Colorizer.load(hinted_folder(tmp_path_factory.mktemp("generator")))


@pytest.fixture(scope="module")
def gray(photos: Path) -> np.ndarray:
    """Returns a photograph of middle lightness, where weak colors are in gamut."""
    image = decode(sorted((photos / "scratch").glob("*.jpg"))[0]).image.convert("L").resize((90, 60))
    return np.asarray(image.point(lambda level: 64 + level // 2).convert("RGB"))


def ab(rgb: np.ndarray) -> torch.Tensor:
    return color.srgb_to_lab(torch.tensor(rgb).permute(2, 0, 1))[1:]


def test_strength_scales_the_chroma(subject: Colorizer, gray: np.ndarray):
    full, half, none = (subject.colorize(gray, strength=strength)[0] for strength in (1.0, 0.5, 0.0))
    assert np.array_equal(full, subject.colorize(gray)[0])
    assert ab(full).norm(dim=0).mean() > 5
    inside = ab(full).norm(dim=0) < 20  # far from the border of the gamut
    assert (ab(half) - ab(full) / 2).abs().amax(dim=0)[inside].max() < 1.5  # 8 bits
    assert np.ptp(none.astype(int), axis=2).max() <= 1


def test_every_strength_keeps_the_lightness(subject: Colorizer, photos: Path):
    rgb = decode(sorted((photos / "scratch").glob("*.jpg"))[1]).rgb
    strong = subject.colorize(rgb, strength=1.5)[0]
    assert np.abs(lightness(strong) - lightness(rgb)).max() < 0.5
    assert ab(strong).norm(dim=0).mean() > 1.1 * ab(subject.colorize(rgb)[0]).norm(dim=0).mean()


@pytest.mark.parametrize("strength", [-0.1, 1.6, float("nan"), float("inf")])
def test_a_strength_out_of_range_is_refused(strength: float):
    with pytest.raises(UserError, match=r"strength: .* is not in 0\.\.1\.5"):
        Choices(strength=strength)


def test_hints_change_the_coloring_and_none_is_the_automatic_one(subject: Colorizer, gray: np.ndarray):
    automatic = subject.colorize(gray)[0]
    assert np.array_equal(automatic, subject.colorize(gray, hints=())[0])
    blue, red = (subject.colorize(gray, hints=parse_hints(hints, "hints"))[0] for hints in (BLUE, RED))
    assert np.abs(blue.astype(int) - automatic).max() > 5
    assert np.abs(blue.astype(int) - red).max() > 5
    assert np.abs(lightness(blue) - lightness(gray)).max() < 0.5


def test_a_batch_mixes_pictures_with_and_without_hints(subject: Colorizer):
    L = 100 * torch.rand(2, 1, 24, 32)
    given = draw_hints(parse_hints(BLUE, "hints"), 24, 32)
    inputs = [Input(L[0], 1, -1, given), Input(L[1], 2, -1)]
    alone = torch.cat([subject.predict_together([one]) for one in inputs])
    assert torch.allclose(alone, subject.predict_together(inputs), atol=1e-3)


def test_points_are_squares_and_strokes_are_lines_with_their_color():
    hints = parse_hints(
        '[{"color": "#f00", "points": [[0, 0]]}, {"color": "navy", "points": [[0, 0.5], [1, 0.5]]}]', ""
    )
    drawn = draw_hints(hints, 40, 60)
    assert drawn.shape == (3, 40, 60)
    assert drawn[2].unique().tolist() == [0, 1]
    assert drawn[2, :4, :4].all()
    assert drawn[2, 20].all()
    assert not drawn[2, 30:].any()
    red = color.srgb_to_lab(torch.tensor([255, 0, 0], dtype=torch.uint8).view(3, 1, 1))[1:, 0, 0] / color.AB_SCALE
    assert torch.allclose(drawn[:2, 0, 0], red)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("blue", "old.jpg.hints.json: invalid JSON"),
        ("{}", "should be a valid"),
        ('[{"color": "blau", "points": [[0, 0]]}]', '0.color should be a color such as "#2a4b8d"'),
        ('[{"color": "blue", "points": [[0, 2]]}]', "0.points.0.1 should be less than or equal to 1"),
        ('[{"color": "blue", "points": [[0, NaN]]}]', "0.points.0.1 should be"),
        ('[{"color": "blue", "points": []}]', "0.points tuple should have at least 1 item"),
        ('[{"color": "blue", "points": [[0, 0]], "size": 3}]', "0.size extra inputs are not permitted"),
        (json.dumps([{"color": "blue", "points": [[0, 0]]}] * 201), "at most 200 items"),
    ],
)
def test_mistakes_in_hints_give_one_sentence(content: str, words: str):
    with pytest.raises(UserError) as caught:
        parse_hints(content, "old.jpg.hints.json")
    assert words in str(caught.value)
    assert str(caught.value).startswith("old.jpg.hints.json")
    assert "\n" not in str(caught.value)


def test_a_generator_without_hints_refuses_them(tmp_path: Path, gray: np.ndarray):
    plain = Colorizer.load(generator_folder(tmp_path))
    with pytest.raises(UserError, match="takes no hints: it was trained without"):
        plain.colorize(gray, hints=parse_hints(BLUE, "hints"))
