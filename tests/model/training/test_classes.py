"""Tests of the classes' loss: the soft encoding, the balance, and what a training does with them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.color import AB_SCALE, decode_lab, to_network
from model.data.shards import Shards
from model.networks.classes import centers
from model.training.classes import ClassesLoss, ab_counts, class_weights, soft_encoding
from model.training.loop import train
from tests.support.tiny import tiny_config, tiny_dataset
from tests.support.trainings import CrashError, crash, logged, same, stop_at

pytestmark = pytest.mark.usefixtures("one_thread")
CLASSES = ("generator.output=classes", "objective.classes_weight=1.0", "objective.reconstruction_weight=0.0")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return Shards.open(tiny_dataset(tmp_path_factory.mktemp("tiny")), "train")


def _encoded(ab: Tensor) -> Tensor:
    """Returns the soft encoding of colors (n, 2) in CIELAB units by its definition: (n, Q)."""
    distances = (ab[:, None] - centers()).double().norm(dim=-1)
    kernel = torch.exp(-distances.square() / (2 * 5**2))
    kernel[distances > distances.sort(dim=1).values[:, 4:5]] = 0
    return (kernel / kernel.sum(dim=1, keepdim=True)).float()


def test_the_table_holds_the_five_nearest_bins_and_their_shares() -> None:
    bins, shares = soft_encoding()
    colors = torch.tensor([[3.0, -4.0], [32.0, 13.0], [-71.0, 57.0], [127.0, 127.0], [98.0, -128.0]])
    rows = (256 * (colors[:, 0] + 128) + colors[:, 1] + 128).long()
    dense = torch.zeros(len(colors), len(centers())).scatter(1, bins[rows], shares[rows])
    torch.testing.assert_close(dense, _encoded(colors), atol=1e-5, rtol=0)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(len(shares)))


def test_the_loss_is_the_cross_entropy_with_the_soft_encoding() -> None:
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(2, len(centers()), 3, 4, generator=draws)
    ab = torch.randint(-80, 81, (2, 2, 3, 4), generator=draws) + 0.3  # off the whole numbers, and no ties of distance
    true = ab.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3) / AB_SCALE
    flat = (ab - 0.3).movedim(1, -1).reshape(-1, 2)
    expected = -(_encoded(flat) * logits.movedim(1, -1).flatten(0, 2).log_softmax(dim=1)).sum(dim=1).mean()
    found = ClassesLoss(None, 0.5, torch.device("cpu"))(logits, true)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0)


def test_rare_colors_weigh_more_and_the_mean_weight_is_one(shards: Shards) -> None:
    counts = ab_counts(shards)
    assert counts.sum() == len(shards) * shards.size**2
    bins, shares = soft_encoding()
    seen = torch.zeros(len(centers())).index_add(0, bins.flatten(), (counts[:, None] * shares).flatten())
    weights = class_weights(counts, 0.5)
    assert weights[seen == 0].min() == weights.max()
    assert weights.argmin() == seen.argmax()
    assert (seen * weights).sum() / seen.sum() == pytest.approx(1, rel=1e-4)
    torch.testing.assert_close(class_weights(counts, 1.0), torch.ones(len(centers())))


@pytest.mark.parametrize("uniform", [0.5, 1.0])
def test_a_training_on_classes_learns_colors(tmp_path: Path, shards: Shards, uniform: float) -> None:
    config = tiny_config(
        "images=640", "warmup_images=640", "learning_rate=0.003", f"objective.classes_uniform={uniform}", *CLASSES
    )
    generator = train(config, shards, tmp_path, {}).generator
    first, *_, last = logged(tmp_path)
    assert last["classes"] < 0.7 * first["classes"]
    L, ab = to_network(decode_lab(torch.from_numpy(shards[:])))
    with torch.no_grad():
        found = generator(L, torch.zeros(len(L), generator.config.noise_size))
    assert (found - ab).abs().mean() < 0.7 * ab.abs().mean()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_game_is_played_with_classes(tmp_path: Path, shards: Shards, precision: str) -> None:
    weights = ("objective.reconstruction_weight=10.0", "objective.adversarial_weighting=gradient")
    train(
        tiny_config("images=40", "warmup_images=16", f"precision={precision}", *CLASSES, *weights), shards, tmp_path, {}
    )
    assert {"classes", "reconstruction", "adversarial", "diversity", "adversarial_share"} <= logged(tmp_path)[-1].keys()


def test_a_training_on_classes_resumes_to_the_bit(tmp_path: Path, shards: Shards) -> None:
    config = tiny_config(*CLASSES)
    whole = train(config, shards, tmp_path / "whole", {}).generator
    with pytest.raises(CrashError):
        train(config, shards, tmp_path / "cut", {}, reporter=stop_at(48, crash))
    assert same(train(config, shards, tmp_path / "cut", {}).generator, whole)
