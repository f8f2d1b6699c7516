"""Tests of the training loop: learning, events that are due, and failures."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model.data.shards import Shards
from model.networks.generator import Generator
from model.training import gan
from model.training.checkpoint import checkpoints
from model.training.loop import Due, train
from model.utils.errors import TrainingFailed, UserError
from tests.support.tiny import tiny_config, tiny_dataset
from tests.support.trainings import Recorder, logged

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return Shards.open(tiny_dataset(tmp_path_factory.mktemp("tiny")), "train")


# Learning


def test_training_overfits_a_tiny_dataset(tmp_path: Path) -> None:
    few = Shards.open(tiny_dataset(tmp_path / "data", train=4), "train")
    config = tiny_config(
        "images=1600", "warmup_images=1600", "learning_rate=0.005", "decay=none", "log_every=160", "generator.levels=3"
    )
    train(config, few, tmp_path / "run", {})
    losses = [row["reconstruction"] for row in logged(tmp_path / "run")]
    assert losses[-1] < 0.35 * losses[0]


def test_history_has_warm_up_rows_and_then_adversarial_rows(tmp_path: Path, shards: Shards) -> None:
    train(tiny_config("checkpoint_every=32"), shards, tmp_path, {})
    rows = logged(tmp_path)
    assert [(row["images"], row["phase"]) for row in rows] == [
        (16, "warmup"),
        (32, "warmup"),
        (48, "full"),
        (64, "full"),
    ]
    always = {"images", "phase", "reconstruction", "ab_spread", "ab_spread_real", "images_per_second"}
    rates = {"learning_rate", "discriminator_learning_rate"}
    assert rows[1].keys() == always | rates
    assert rows[3].keys() == always | rates | {
        "adversarial",
        "discriminator",
        "adversarial_share",
        "adversarial_weight",
        "d_accuracy",
        "diversity",
        "z_sensitivity",
    }
    assert all(0 <= row["d_accuracy"] <= 1 for row in rows[2:])
    assert all(math.isfinite(value) for row in rows for value in row.values() if isinstance(value, float))


# Due


def test_history_has_the_learning_rates_that_were_used(tmp_path: Path, shards: Shards) -> None:
    config = tiny_config("discriminator_learning_rate=0.001", "log_every=8", "critic_images=8", "game_rate=0.5")
    train(config, shards, tmp_path, {})
    rows = logged(tmp_path)
    assert [row["phase"] for row in rows] == ["warmup"] * 4 + ["critic"] + ["full"] * 3
    assert [row["learning_rate"] for row in rows] == pytest.approx([2e-4, 2e-4, 2e-4, 1e-4, 0, 1e-4, 1e-4, 1e-4])
    assert [row["discriminator_learning_rate"] for row in rows] == pytest.approx([0] * 4 + [1e-3] * 4)


def test_learning_rate_decay_shrinks_the_weight_updates(tmp_path: Path, shards: Shards) -> None:
    """Adam's steps shrink with the learning rate: the last quarter of a decayed training moves the weights little."""
    moved = {}
    for decay in ("none", "cosine"):
        seen: list[Tensor] = []

        def keep(images: int, generator: Generator, seen: list[Tensor] = seen) -> None:
            seen.append(generator.to_ab[-2].weight.detach().clone())

        alone = ("images=256", "warmup_images=256", "ema_half_life=0", "sample_every=64")
        config = tiny_config(f"decay={decay}", "decay_from=0.0", *alone)
        train(config, shards, tmp_path / decay, {}, reporter=Recorder(on_sample=keep))
        moved[decay] = (seen[-1] - seen[-2]).abs().mean().item()
    assert moved["cosine"] < 0.2 * moved["none"]


def test_durations_count_images_for_any_batch_size(tmp_path: Path, shards: Shards) -> None:
    sampled: list[int] = []
    config = tiny_config("batch_size=6", "images=50", "log_every=10", "sample_every=25", "checkpoint_every=20")
    reporter = Recorder(on_sample=lambda images, _: sampled.append(images))
    trained = train(config, shards, tmp_path, {}, reporter=reporter)
    assert trained.images == 54  # whole batches
    assert [row["images"] for row in logged(tmp_path)] == [12, 24, 30, 42, 54]
    assert sampled == [30, 54]
    assert [path.stem for path in checkpoints(tmp_path)] == ["checkpoint-000000000042", "checkpoint-000000000024"]


def test_the_last_step_logs_and_samples_but_saves_nothing_and_ignores_a_stop() -> None:
    config = tiny_config("validate_every=16")
    assert Due.at(64, config, stop=True) == Due(log=True, validate=True, sample=True, save=False, stop=False)
    assert Due.at(56, config, stop=True) == Due(log=False, validate=False, sample=False, save=True, stop=True)
    assert Due.at(16, config, stop=False) == Due(log=True, validate=True, sample=False, save=True, stop=False)


# Ends


def _breaking(after: int, broken: float) -> Any:
    """Returns a reconstruction loss that is not finite after the given number of steps."""
    steps = 0

    def loss(kind: str, predicted: Tensor, target: Tensor) -> Tensor:
        nonlocal steps
        steps += 1
        return (predicted - target).abs().mean() * (broken if steps > after else 1.0)

    return loss


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_training(
    tmp_path: Path, shards: Shards, monkeypatch: pytest.MonkeyPatch, broken: float
) -> None:
    monkeypatch.setattr(gan, "reconstruction_loss", _breaking(after=5, broken=broken))
    with pytest.raises(TrainingFailed) as raised:
        train(tiny_config(), shards, tmp_path, {})
    message = str(raised.value)
    for words in ("at 48 images", "phase full", "reconstruction", "checkpoint-000000000032.safetensors"):
        assert words in message
    assert [path.stem for path in checkpoints(tmp_path)] == ["checkpoint-000000000032", "checkpoint-000000000016"]
    rows = logged(tmp_path)
    assert [(row["images"], row.get("health_alarm")) for row in rows] == [(16, None), (32, None), (48, 1)]
    assert "reconstruction" not in rows[2]  # JSON knows no NaN


def test_a_loss_that_is_not_finite_is_found_at_a_checkpoint_between_rows(
    tmp_path: Path, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gan, "reconstruction_loss", _breaking(after=1, broken=math.nan))
    with pytest.raises(UserError, match=r"at 16 images .*reconstruction.*last good checkpoint is none"):
        train(tiny_config("log_every=64"), shards, tmp_path, {})
    assert not checkpoints(tmp_path)


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, shards: Shards) -> None:
    def spoil(images: int, generator: Generator) -> None:
        with torch.no_grad():
            generator.to_ab[-2].bias.fill_(math.inf)

    config = tiny_config("sample_every=48", "log_every=64")
    with pytest.raises(UserError, match=r"at 48 images .*weights.*checkpoint-000000000032"):
        train(config, shards, tmp_path, {}, reporter=Recorder(on_sample=spoil))
    assert len(checkpoints(tmp_path)) == 2
