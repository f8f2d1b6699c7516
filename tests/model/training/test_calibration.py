"""Tests of calibration: colorings become as colorful as photographs, and a saved generator keeps that."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from model.color import decode_lab, encode_lab, from_network, into_gamut, lab_to_srgb, to_network, to_uint8
from model.data.format import Row
from model.data.shards import Shards
from model.data.writer import write_dataset
from model.inference.predict import predict_ab, with_chroma
from model.inference.saved import load_generator, save_generator
from model.metrics.colorfulness import colorfulness
from model.networks.generator import Generator
from model.training.calibration import calibrate
from model.training.start import new_generator, trained_generator
from model.utils.seeds import seeded
from tests.support.tiny import tiny_config, tiny_dataset

colors = arrays("float32", (1, 2, 3, 3), elements=st.floats(-1, 1, width=32)).map(torch.from_numpy)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return Shards.open(tiny_dataset(tmp_path_factory.mktemp("dataset"), train=2, val=20), "val")


def made(strength: float) -> Generator:
    """Returns an untrained generator whose colors are as strong as its last layer."""
    generator = new_generator(tiny_config()).eval()
    for name, parameter in generator.named_parameters():
        if "to_ab" in name:
            torch.nn.init.normal_(parameter, 0, strength)
    return generator


def colorful(generator: Generator, photographs: Shards) -> tuple[float, float]:
    """Returns the mean colorfulness of colorings and of photographs."""
    lab = decode_lab(torch.from_numpy(photographs[:]))
    L, _ = to_network(lab)
    colored = into_gamut(from_network(L, predict_ab(generator, L, generator.sample_noise(len(L), seeded(9)))))
    found, real = (colorfulness(to_uint8(lab_to_srgb(x))).mean().item() for x in (colored, lab))
    return found, real


def colored_by(generator: Generator, slopes: Sequence[float], folder: Path, opposite: int = 0) -> Shards:
    """Writes photographs in a generator's own colors, at slopes in turn; some columns in the strong opposite colors."""
    random = torch.Generator().manual_seed(0)
    labs, rows = {}, []
    for index in range(24):
        L = torch.rand(1, 1, 3, 3, generator=random)
        L = torch.nn.functional.interpolate(L, (24, 24), mode="bicubic").clamp(0, 1) * 2 - 1
        slope = slopes[index % len(slopes)]
        guess = predict_ab(generator, L, None)
        ab = torch.where(torch.arange(24) < 24 - opposite, with_chroma(guess, slope), -with_chroma(guess, 2))
        stored = encode_lab(into_gamut(from_network(L, ab)))[0].numpy()
        name = hashlib.sha256(stored.tobytes()).hexdigest()
        labs[name] = stored
        rows.append(Row(f"{index}.png", name, 24, 24, "val", "kept", ""))
    folder.mkdir()
    write_dataset(folder, rows, labs.__getitem__, size=24, data_version="0" * 32)
    return Shards.open(folder, "val")


def quiet(strength: float) -> Generator:
    """Returns a generator that colors a photograph the same way each time."""
    generator = new_generator(tiny_config("generator.noise=none")).eval()
    torch.manual_seed(3)
    for name, parameter in generator.named_parameters():
        if "to_ab" in name:
            torch.nn.init.normal_(parameter, 0, strength)
    return generator


def test_pale_colorings_become_as_colorful_as_the_photographs(tmp_path: Path) -> None:
    generator = quiet(0.05)
    photographs = colored_by(generator, [0.8], tmp_path / "photographs")
    before, real = colorful(generator, photographs)
    calibration = calibrate(generator, photographs)
    after, _ = colorful(generator, photographs)
    assert before < 0.9 * real
    assert calibration.chosen.slope == generator.chroma_slope == pytest.approx(0.8, abs=0.1)
    assert after == pytest.approx(real, rel=0.05)
    assert calibration.chosen.l1_ab < calibration.uncalibrated.l1_ab < calibration.gray_l1_ab


def test_colors_are_strengthened_only_while_they_are_surely_nearer_than_gray(tmp_path: Path) -> None:
    """What the generator knows is pale, and what is colorful it colors wrongly."""
    generator = quiet(0.05)
    calibration = calibrate(generator, colored_by(generator, [0.0], tmp_path / "photographs", opposite=10))
    chosen, full = calibration.chosen, calibration.as_colorful
    assert 0 < chosen.slope < full.slope
    assert calibration.uncalibrated.l1_ab < chosen.l1_ab < calibration.gray_l1_ab < full.l1_ab
    assert full.colorfulness_error < chosen.colorfulness_error


def test_colors_are_strengthened_only_while_no_photograph_gets_too_many(tmp_path: Path) -> None:
    """A few photographs are far more colorful than the others: their mean is not what the others need."""
    generator = quiet(0.05)
    calibration = calibrate(generator, colored_by(generator, [0.1, 0.2, 0.3, 2.0], tmp_path / "photographs"))
    chosen, full = calibration.chosen, calibration.as_colorful
    assert 0.1 < chosen.slope < full.slope
    assert chosen.colorfulness_error < full.colorfulness_error
    assert chosen.colorfulness_error < calibration.uncalibrated.colorfulness_error
    assert full.l1_ab < calibration.gray_l1_ab


def test_a_generator_that_is_no_better_than_gray_is_not_strengthened(photographs: Shards) -> None:
    calibration = calibrate(made(0.02), photographs)
    assert calibration.chosen.slope == 0
    assert calibration.as_colorful.slope > 0
    assert calibration.as_colorful.l1_ab > calibration.uncalibrated.l1_ab


def test_strong_colors_are_left_alone(photographs: Shards) -> None:
    calibration = calibrate(made(3), photographs)
    assert calibration.as_colorful.slope == pytest.approx(0, abs=0.01)


def test_the_choice_is_written_as_json(photographs: Shards) -> None:
    facts = json.loads(json.dumps(calibrate(made(0.02), photographs).to_json()))
    assert facts["photographs"] == len(photographs)
    assert facts["chosen"].keys() == {"slope", "l1_ab", "colorfulness", "colorfulness_error"}


def test_a_saved_generator_keeps_its_calibration_and_another_training_resets_it(tmp_path: Path) -> None:
    generator = made(0.02)
    generator.chroma_slope = 0.7
    save_generator(tmp_path, generator, crop=16, size=24, images=64)
    assert load_generator(tmp_path)[0].chroma_slope == generator.chroma_slope
    assert trained_generator(tiny_config(), tmp_path).chroma_slope == 0


@given(colors, st.floats(0, 2))
def test_with_chroma_keeps_hue_and_the_order_of_chroma(ab: Tensor, slope: float) -> None:
    stronger = with_chroma(ab, slope)
    cross = ab[:, 0] * stronger[:, 1] - ab[:, 1] * stronger[:, 0]
    torch.testing.assert_close(cross, torch.zeros_like(cross), atol=1e-3, rtol=0)
    assert ((ab * stronger).sum(dim=1) >= 0).all()
    before, after = ab.square().sum(dim=1).sqrt().flatten(), stronger.square().sum(dim=1).sqrt().flatten()
    assert (after >= before - 1e-6).all()
    assert (after[before.argsort()].diff() >= -1e-4).all()
