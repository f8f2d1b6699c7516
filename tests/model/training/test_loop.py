"""Training: what it learns, its schedule, its terms, and what stops it."""

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from model.data.shards import Shards
from model.networks.generator import Generator
from model.training import gan
from model.training import loop as training
from model.training.checkpoint import checkpoints
from model.training.distributed import ProcessGroup
from model.training.loop import train
from model.utils.errors import TrainingFailed, UserError
from tests.support.tiny import tiny_config, tiny_dataset
from tests.support.trainings import Recorder

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return Shards.open(tiny_dataset(tmp_path_factory.mktemp("tiny")), "train")


def _history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def _state(folder: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(checkpoints(folder)[0])


# What is learnt


def test_a_tiny_set_is_learnt_by_heart(tmp_path: Path) -> None:
    few = Shards.open(tiny_dataset(tmp_path / "data", train=4), "train")
    config = tiny_config(
        "images=1600", "warmup_images=1600", "learning_rate=0.005", "decay=none", "log_every=160", "generator.levels=3"
    )
    train(config, few, tmp_path / "run", {})
    losses = [row["reconstruction"] for row in _history(tmp_path / "run")]
    assert losses[-1] < 0.35 * losses[0]


def test_the_game_follows_the_warm_up(tmp_path: Path, shards: Shards) -> None:
    train(tiny_config("checkpoint_every=32"), shards, tmp_path, {})
    rows = _history(tmp_path)
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
        "d_accuracy",
        "diversity",
        "z_sensitivity",
    }
    assert all(0 <= row["d_accuracy"] <= 1 for row in rows[2:])
    assert all(math.isfinite(value) for row in rows for value in row.values() if isinstance(value, float))


def test_the_discriminator_rests_during_the_warm_up(tmp_path: Path, shards: Shards) -> None:
    torch.manual_seed(tiny_config().seed)
    train(tiny_config("checkpoint_every=16", "warmup_images=64", "images=72"), shards, tmp_path / "warm", {})
    train(tiny_config("checkpoint_every=16", "warmup_images=0", "images=72"), shards, tmp_path / "game", {})
    warm, played = _state(tmp_path / "warm"), _state(tmp_path / "game")
    assert not any(name.startswith("discriminator_adam") for name in warm)
    assert any(name.startswith("discriminator_adam") for name in played)
    first = "discriminator.layers.0.weight"
    assert not torch.equal(warm[first], played[first])


@pytest.mark.parametrize(
    ("overrides", "absent", "present"),
    [
        (("objective.adversarial=none",), {"adversarial", "discriminator", "d_accuracy"}, {"diversity"}),
        (("objective.reconstruction=none", "warmup_images=0"), {"reconstruction"}, {"adversarial"}),
        (("objective.diversity_weight=0",), {"diversity"}, {"adversarial", "reconstruction"}),
        (("generator.noise=none",), {"diversity"}, {"adversarial"}),
        (
            ("generator.noise=dropout", "generator.norm=batch", "discriminator.norm=batch"),
            {"diversity"},
            {"adversarial"},
        ),
        (("objective.adversarial=vanilla", "clip_gradient=0", "ema_half_life=0"), set(), {"adversarial"}),
        (("objective.adversarial=hinge", "objective.reconstruction=l2"), set(), {"reconstruction"}),
        (("precision=bfloat16",), set(), {"reconstruction", "adversarial"}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, tuple) else "",
)
def test_each_term_can_be_left_out(
    tmp_path: Path, shards: Shards, overrides: tuple[str, ...], absent: set[str], present: set[str]
) -> None:
    config = tiny_config("images=40", "warmup_images=16", *overrides)
    train(config, shards, tmp_path, {})
    row = _history(tmp_path)[-1]
    assert present <= row.keys()
    assert not absent & row.keys()
    state = _state(tmp_path)
    assert any(name.startswith("discriminator.") for name in state) is (config.objective.adversarial != "none")
    assert any(name.startswith("ema.") for name in state) is (config.ema_half_life > 0)


def test_diversity_is_asked_of_a_quarter_and_makes_colorings_differ(tmp_path: Path, shards: Shards) -> None:
    apart = []
    for weight in (0, 300):
        config = tiny_config(
            "images=960",
            "warmup_images=0",
            "objective.adversarial=none",
            f"objective.diversity_weight={weight}",
            "objective.diversity_limit=0.1",
            "learning_rate=0.002",
            "ema_half_life=0",
        )
        generator = train(config, shards, tmp_path / str(weight), {}).generator
        L = torch.rand(1, 1, 16, 16).expand(8, 1, 16, 16) * 2 - 1
        with torch.no_grad():
            apart.append(generator(L, torch.randn(8, 8)).std(dim=0).mean().item())
    assert apart[1] > 2 * apart[0]


# Schedules


def test_history_has_the_learning_rates_that_were_used(tmp_path: Path, shards: Shards) -> None:
    config = tiny_config("discriminator_learning_rate=0.001", "log_every=8", "decay_from=0.25")
    train(config, shards, tmp_path, {})
    factors = [1, 1, 1, 1 - 8 / 48, 1 - 16 / 48, 1 - 24 / 48, 1 - 32 / 48, 1 - 40 / 48]
    rows = _history(tmp_path)
    assert [row["learning_rate"] for row in rows] == pytest.approx([2e-4 * factor for factor in factors])
    assert [row["discriminator_learning_rate"] for row in rows] == pytest.approx([1e-3 * factor for factor in factors])


def test_decay_reaches_the_weights(tmp_path: Path, shards: Shards) -> None:
    """Adam's steps shrink with the learning rate: the last quarter of a decayed training hardly moves anything."""
    moved = {}
    for decay in ("none", "cosine"):
        seen: list[Tensor] = []

        def keep(images: int, generator: Generator, seen: list[Tensor] = seen) -> None:
            seen.append(generator.to_ab[-2].weight.detach().clone())

        config = tiny_config(f"decay={decay}", "decay_from=0.0", "images=256", "ema_half_life=0", "sample_every=64")
        train(config, shards, tmp_path / decay, {}, reporter=Recorder(on_sample=keep))
        moved[decay] = (seen[-1] - seen[-2]).abs().mean().item()
    assert moved["cosine"] < 0.2 * moved["none"]


def test_durations_are_in_images_whatever_the_batch(tmp_path: Path, shards: Shards) -> None:
    sampled: list[int] = []
    config = tiny_config("batch_size=6", "images=50", "log_every=10", "sample_every=25", "checkpoint_every=20")
    reporter = Recorder(on_sample=lambda images, _: sampled.append(images))
    trained = train(config, shards, tmp_path, {}, reporter=reporter)
    assert trained.images == 54  # whole batches
    assert [row["images"] for row in _history(tmp_path)] == [12, 24, 30, 42, 54]
    assert sampled == [30, 54]
    assert [path.stem for path in checkpoints(tmp_path)] == ["checkpoint-000000000042", "checkpoint-000000000024"]


# What stops it


def _breaking(after: int, broken: float) -> Any:
    """The reconstruction loss, no finite number any more after so many steps."""
    steps = 0

    def loss(kind: str, predicted: Tensor, target: Tensor) -> Tensor:
        nonlocal steps
        steps += 1
        return (predicted - target).abs().mean() * (broken if steps > after else 1.0)

    return loss


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_training(
    tmp_path: Path, shards: Shards, monkeypatch: pytest.MonkeyPatch, broken: float
) -> None:
    monkeypatch.setattr(gan, "reconstruction_loss", _breaking(after=5, broken=broken))
    with pytest.raises(TrainingFailed) as raised:
        train(tiny_config(), shards, tmp_path, {})
    message = str(raised.value)
    for words in ("at 48 images", "phase full", "reconstruction", "checkpoint-000000000032.safetensors"):
        assert words in message
    assert [path.stem for path in checkpoints(tmp_path)] == ["checkpoint-000000000032", "checkpoint-000000000016"]
    rows = _history(tmp_path)
    assert [(row["images"], row.get("health_alarm")) for row in rows] == [(16, None), (32, None), (48, 1)]
    assert "reconstruction" not in rows[2]  # JSON knows no NaN


def test_a_checkpoint_between_rows_is_guarded_too(
    tmp_path: Path, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gan, "reconstruction_loss", _breaking(after=1, broken=math.nan))
    with pytest.raises(UserError, match=r"at 16 images .*reconstruction.*last good checkpoint is none"):
        train(tiny_config("log_every=64"), shards, tmp_path, {})
    assert not checkpoints(tmp_path)


def test_weights_that_are_no_numbers_are_never_saved(tmp_path: Path, shards: Shards) -> None:
    def spoil(images: int, generator: Generator) -> None:
        with torch.no_grad():
            generator.to_ab[-2].bias.fill_(math.inf)

    config = tiny_config("sample_every=48", "log_every=64")
    with pytest.raises(UserError, match=r"at 48 images .*weights.*checkpoint-000000000032"):
        train(config, shards, tmp_path, {}, reporter=Recorder(on_sample=spoil))
    assert len(checkpoints(tmp_path)) == 2


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path, shards: Shards) -> None:
    train(tiny_config(), shards, tmp_path, {"data_version": "old"})
    with pytest.raises(UserError) as raised:
        train(tiny_config("learning_rate=0.1", "generator.norm=batch"), shards, tmp_path, {"data_version": "new"})
    for words in (
        "config.learning_rate: 0.0002 -> 0.1",
        "config.generator.norm: group -> batch",
        "data_version: old -> new",
    ):
        assert words in str(raised.value)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("crop=24",), "train.crop is 24 and train.zoom 1, but the dataset's photographs have 20 pixels"),
        (
            ("discriminator.receptive_field=70",),
            "with a receptive field of 70 needs at least 24 pixels",
        ),
    ],
)
def test_what_does_not_fit_the_dataset(tmp_path: Path, overrides: tuple[str, ...], words: str) -> None:
    small = Shards.open(tiny_dataset(tmp_path / "data", size=20), "train")
    with pytest.raises(UserError, match=words):
        train(tiny_config(*overrides), small, tmp_path / "run", {})


def test_a_batch_that_does_not_divide(tmp_path: Path, shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    three = contextlib.nullcontext(ProcessGroup(rank=0, count=3, device=torch.device("cpu")))
    monkeypatch.setattr(training, "join_processes", lambda: three)
    with pytest.raises(UserError, match=r"train\.batch_size is 8; it must be a multiple of the 3 processes"):
        train(tiny_config(), shards, tmp_path, {})


def test_an_empty_dataset(tmp_path: Path) -> None:
    empty = Shards.open(tiny_dataset(tmp_path / "data", train=0), "train")
    with pytest.raises(UserError, match="no photographs for training"):
        train(tiny_config(), empty, tmp_path / "run", {})


def test_a_damaged_history_is_written_anew_from_the_checkpoint(tmp_path: Path, shards: Shards) -> None:
    train(tiny_config(), shards, tmp_path, {})
    rows = _history(tmp_path)
    for damaged in ("", "{", (tmp_path / "history.jsonl").read_text() * 2):
        (tmp_path / "history.jsonl").write_text(damaged)
        train(tiny_config(), shards, tmp_path, {})
        assert _history(tmp_path)[:3] == rows[:3]
        assert len(_history(tmp_path)) == 4
