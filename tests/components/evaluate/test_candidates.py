"""Tests of the candidates and baselines of an evaluation, and of scoring displayable colors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from components.evaluate.accumulate import to_displayable
from components.evaluate.baselines import MeanByLightness
from components.evaluate.candidates import GeneratorCandidate
from model.color import AB_SCALE, decode_lab, in_gamut
from model.data.format import Row
from model.data.shards import Shards
from model.data.writer import write_dataset
from model.inference.predict import predict_ab
from model.inference.saved import load_generator
from model.networks.generator import Generator
from model.utils.seeds import seeded
from tests.support.made import TEST
from tests.support.tiny import tiny_config, tiny_dataset


def test_mean_by_lightness_equals_a_direct_mean_and_interpolates_between_levels(tmp_path: Path) -> None:
    lab = np.zeros((2, 3, 4, 4), dtype=np.uint8)
    lab[0, :] = np.array([10, 128 + 6, 128 - 2])[:, None, None]
    lab[1, :] = np.array([10, 128 + 2, 128 + 4])[:, None, None]
    lab[1, :, 0, 0] = [20, 128 + 24, 128 - 9]
    rows = [Row(f"{i}", f"{i}" * 64, 4, 4, "train", "kept", "") for i in range(2)]
    write_dataset(tmp_path, rows, lambda sha256: lab[int(sha256[0])], size=4, data_version="0" * 32)
    baseline = MeanByLightness(Shards.open(tmp_path, "train"))
    ten = [(16 * 6 + 15 * 2) / 31, (16 * -2 + 15 * 4) / 31]
    assert baseline.table[:, 10].tolist() == pytest.approx(ten, rel=1e-6)
    assert baseline.table[:, 20].tolist() == [24, -9]
    assert baseline.table[:, 15].tolist() == pytest.approx([(ten[0] + 24) / 2, (ten[1] - 9) / 2], rel=1e-6)
    assert baseline.table[:, 0].tolist() == baseline.table[:, 10].tolist()
    assert baseline.table[:, 255].tolist() == [24, -9]
    lightness = torch.tensor([[[[10, 20]]], [[[20, 0]]]], dtype=torch.uint8)
    ab = baseline(lightness, [0, 1])
    assert ab.shape == (1, 2, 2, 1, 2)
    assert ab[0, 1, :, 0, 0].tolist() == [24, -9]
    assert ab[0, 0, :, 0, 0].tolist() == pytest.approx(ten, rel=1e-6)


def test_mean_by_lightness_is_nearer_than_gray_on_its_training_photographs(dataset: Path) -> None:
    train = Shards.open(dataset, "train")
    stored = torch.from_numpy(train[:])
    ab = decode_lab(stored)[:, 1:]
    error = (MeanByLightness(train)(stored[:, :1], range(len(train)))[0] - ab).square().mean()
    assert error < 0.99 * ab.square().mean()


def test_colorings_are_mapped_into_the_srgb_gamut_before_scoring() -> None:
    """A color outside sRGB keeps L and hue and loses chroma; a color inside stays."""
    lightness = torch.tensor([102, 102], dtype=torch.uint8).view(1, 1, 1, 2)  # L = 40
    ab = torch.tensor([[100.0, 10.0], [-50.0, -5.0]]).view(1, 2, 1, 2)
    lab = to_displayable(lightness, ab)
    assert in_gamut(lab).all()
    assert lab[0, 0].tolist() == [[40.0, 40.0]]
    assert 10 < lab[0, 1, 0, 0] < 90
    assert (lab[0, 2] / lab[0, 1]).flatten().tolist() == pytest.approx([-0.5, -0.5])
    assert lab[0, 1:, 0, 1].tolist() == [10, -5]


@pytest.mark.parametrize("which", ["challenger", "dropout"])
def test_colorings_repeat_for_the_same_seed_and_differ_for_another(
    which: str, dataset: Path, models: dict[str, Path]
) -> None:
    generator, test = load_generator(models[which])[0], Shards.open(dataset, "test")
    lightness = torch.from_numpy(test[:4])[:, :1]
    first, again, other = (
        GeneratorCandidate(generator, test, samples=2, seed=seed)(lightness, range(4)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert (first - other).abs().mean() > 0.01
    assert (first[0] - first[1]).abs().mean() > 0.01


def test_a_photographs_noise_does_not_depend_on_its_batch(dataset: Path, models: dict[str, Path]) -> None:
    test = Shards.open(dataset, "test")
    candidate = GeneratorCandidate(load_generator(models["challenger"])[0], test, samples=2, seed=0)
    lightness = torch.from_numpy(test[:])[:, :1]
    together = candidate(lightness, range(TEST))
    torch.testing.assert_close(candidate(lightness[[7, 2]], [7, 2]), together[:, [7, 2]], atol=1e-3, rtol=0)


def test_a_generator_with_labels_gets_the_labels_of_the_photographs(tmp_path: Path) -> None:
    test = Shards.open(tiny_dataset(tmp_path, labels=("day", None, "night", "noon")), "train")
    torch.manual_seed(0)
    generator = Generator(tiny_config("generator.labels=[day, night]").generator).eval()
    stored, L = torch.from_numpy(test[:])[:, :1], torch.from_numpy(test[:]).float()[:, :1] / 127.5 - 1
    (colored,) = GeneratorCandidate(generator, test, samples=1, seed=0)(stored, range(len(test)))
    z = generator.sample_noise(len(test), seeded(0, "evaluate", 0))
    y = torch.tensor([{"day": 0, "night": 1}.get(label or "", -1) for label in test.labels])
    assert {0, 1, -1} == set(y.tolist())
    torch.testing.assert_close(colored, predict_ab(generator, L, z, y) * AB_SCALE)
    assert (colored - predict_ab(generator, L, z) * AB_SCALE).abs().max() > 0.01
