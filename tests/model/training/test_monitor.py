"""Health: what raises an alarm, the way back, and that neither a kill nor SIGTERM changes any of it."""

import math
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from model.data.shards import Shards
from model.training import gan as game
from model.training.loop import train
from model.training.monitor import Health
from model.training.state import below, checkpoint_path, checkpoints
from model.utils.errors import Interrupted, UserError
from tests.support.tiny import tiny_config, tiny_dataset
from tests.support.trainings import CrashError, crash, history, same, stop_at, terminate

LOST = ("warmup_images=64", "images=176", "health.patience=2", "health.ab_spread=[0,0.01]")
"""No coloring is that gray: every row of the game is unhealthy. Alarms at 96, 128 and 160 images."""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return Shards.open(tiny_dataset(tmp_path_factory.mktemp("tiny")), "train")


def _alarms(folder: Path) -> list[int]:
    return [row["images"] for row in history(folder) if "health_alarm" in row]


# What raises an alarm

GOOD = {"d_accuracy": 0.7, "ab_spread": 6.0, "ab_spread_real": 9.0, "z_sensitivity": 2.0}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ()),
        ({"d_accuracy": 0.99}, ("d_accuracy is 0.99, above 0.98, 3 rows in a row", "discriminator_learning_rate")),
        ({"d_accuracy": 0.0}, ("d_accuracy is 0, below 0.02",)),
        ({"ab_spread": 0.2}, ("ab_spread over the photographs' own is 0.0222, below 0.05",)),
        ({"ab_spread": 40.0}, ("is 4.44, above 3", "lower train.objective.adversarial_weight")),
        ({"z_sensitivity": 0.01}, ("z_sensitivity is 0.01, below 0.1", "raise train.objective.diversity_weight")),
        ({"d_accuracy": 0.99, "ab_spread": 0.2}, ("d_accuracy is 0.99, above 0.98 and ab_spread",)),
    ],
)
def test_a_figure_beyond_its_limits_for_long_enough(changed: dict[str, float], words: tuple[str, ...]) -> None:
    health = Health(tiny_config("health.patience=3").health)
    row = {"images": 16, "phase": "full", **GOOD, **changed}
    raised = [health.judge(row) for _ in range(7)]
    alarm = raised.pop(2)
    assert raised == [None] * 6  # once while it lasts
    assert (alarm is not None) is bool(words)
    for word in words:
        assert alarm
        assert word in f"{alarm.reason}; {alarm.advice}"


def test_what_raises_none() -> None:
    health = Health(tiny_config("health.patience=2").health)
    bad = GOOD | {"d_accuracy": 1.0, "z_sensitivity": 0.0}
    for _ in range(5):
        assert health.judge({"phase": "warmup", **bad}) is None
        assert health.judge({"phase": "full", **bad}) is None  # a single one now and then
        assert health.judge({"phase": "full", "ab_spread": 6.0, "ab_spread_real": 9.0}) is None  # neither D nor z


@pytest.mark.parametrize("phase", ["warmup", "full"])
def test_a_number_that_is_not_finite_does_not_wait(phase: str) -> None:
    alarm = Health(tiny_config().health).judge({"images": 16, "phase": phase, **GOOD, "reconstruction": math.nan})
    assert alarm
    assert alarm.broken
    assert "reconstruction" in alarm.reason


# What follows from it


def test_a_game_that_is_lost_goes_back_three_times_and_ends(
    tmp_path: Path, shards: Shards, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[str] = []
    with pytest.raises(UserError) as raised:
        train(tiny_config(*LOST, "images=208", "decay=none"), shards, tmp_path, {}, on_alarm=lines.append)
    assert [line for line in caplog.messages if "not healthy" in line] == lines
    assert len(lines) == 3
    for words in (
        "at 96 images",
        "above 0.01, 2 rows in a row",
        "checkpoint of 16 images",
        "times 0.5 (return 1 of 3)",
    ):
        assert words in lines[0]
    for words in ("last 192 images", "after 3 returns", "lower train.objective.adversarial_weight", "000000016.saf"):
        assert words in str(raised.value)
    rows = history(tmp_path)
    assert _alarms(tmp_path) == [96, 128, 160, 192]
    rates = [row["learning_rate"] / 2e-4 for row in rows]
    assert rates == pytest.approx([1] * 6 + [0.5] * 2 + [0.25] * 2 + [0.125] * 2)
    assert [row["discriminator_learning_rate"] / 2e-4 for row in rows] == pytest.approx(rates)
    assert checkpoint_path(tmp_path, 16) in checkpoints(tmp_path)


def test_it_goes_back_to_the_weights_of_the_healthy_checkpoint(tmp_path: Path, shards: Shards) -> None:
    trained = train(tiny_config(*LOST, "images=96"), shards, tmp_path, {})
    healthy = below(safetensors.torch.load_file(checkpoint_path(tmp_path, 16)), "average")
    assert all(torch.equal(value, healthy[name]) for name, value in trained.generator.state_dict().items())


def test_what_blows_up_is_noticed(tmp_path: Path, shards: Shards) -> None:
    """Nothing but a real game, with weight and learning rate beyond reason."""
    absurd = ("objective.adversarial_weight=10000", "learning_rate=0.05", "clip_gradient=0", "ema_half_life=0")
    lines: list[str] = []
    try:
        train(tiny_config("images=480", "health.patience=2", *absurd), shards, tmp_path, {}, on_alarm=lines.append)
    except UserError as error:
        lines.append(str(error))
    assert lines
    assert history(tmp_path)[-1]["learning_rate"] <= 0.025


def test_a_healthy_training_is_left_alone(tmp_path: Path, shards: Shards) -> None:
    trained = train(tiny_config("images=160"), shards, tmp_path / "watched", {})
    loose = ("health.d_accuracy=[0,1]", "health.ab_spread=[0,1000]", "health.z_sensitivity=0")
    free = train(tiny_config("images=160", *loose), shards, tmp_path / "free", {})
    assert not _alarms(tmp_path / "watched")
    assert same(trained.generator, free.generator)


def test_without_returns_there_are_alarms_alone(tmp_path: Path, shards: Shards) -> None:
    lines: list[str] = []
    lost = train(
        tiny_config(*LOST, "images=112", "health.returns=0"), shards, tmp_path / "lost", {}, on_alarm=lines.append
    )
    free = train(tiny_config(*LOST, "images=112", "health.ab_spread=[0,1000]"), shards, tmp_path / "free", {})
    assert _alarms(tmp_path / "lost") == [96]
    assert "goes on as it is: train.health.returns is 0" in lines[0]
    assert same(lost.generator, free.generator)


def test_without_a_healthy_checkpoint_it_goes_on(tmp_path: Path, shards: Shards) -> None:
    lines: list[str] = []
    train(tiny_config(*LOST, "warmup_images=0", "images=64"), shards, tmp_path, {}, on_alarm=lines.append)
    assert _alarms(tmp_path) == [32]
    assert "there is no healthy checkpoint yet" in lines[0]


class _Broken:
    """The reconstruction loss, no number at all at some steps."""

    def __init__(self, *steps: int) -> None:
        self._steps, self._step = steps, 0

    def __call__(self, kind: str, predicted: Tensor, target: Tensor) -> Tensor:
        self._step += 1
        return (predicted - target).abs().mean() * (math.nan if self._step in self._steps else 1.0)


@pytest.mark.parametrize(
    ("overrides", "noticed"), [((), 80), (("log_every=24", "checkpoint_every=40"), 80)], ids=["at a row", "in between"]
)
def test_a_number_that_is_not_finite_is_survived(
    tmp_path: Path, shards: Shards, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], noticed: int
) -> None:
    monkeypatch.setattr(game, "reconstruction_loss", _Broken(10))
    config = tiny_config("images=112", "decay=none", *overrides)
    trained = train(config, shards, tmp_path, {})
    assert all(bool(value.isfinite().all()) for value in trained.generator.state_dict().values())
    rows = history(tmp_path)
    assert _alarms(tmp_path) == [noticed]
    assert [row["learning_rate"] for row in rows if row["images"] > noticed] == pytest.approx([1e-4, 1e-4])
    assert [row["images"] for row in rows if "reconstruction" not in row] == [noticed]


# Stops in between


def test_a_kill_around_a_return_leaves_no_trace(tmp_path: Path, shards: Shards) -> None:
    """A checkpoint of the warm-up knows no moments of the discriminator; one of after the return does again."""
    config = tiny_config(*LOST, "checkpoint_every=24")
    whole = train(config, shards, tmp_path / "whole", {})
    assert _alarms(tmp_path / "whole") == [96, 128, 160]

    for images in (104, 144):
        folder = tmp_path / str(images)
        with pytest.raises(CrashError):
            train(config, shards, folder, {}, on_step=stop_at(images, crash))
        assert same(train(config, shards, folder, {}).generator, whole.generator), f"crash after {images} images"
        assert history(folder) == history(tmp_path / "whole")


def test_sigterm_around_a_return_leaves_no_trace(tmp_path: Path, shards: Shards) -> None:
    """What it saves in between is no checkpoint to go back to: a training that was left alone has none there."""
    config = tiny_config(*LOST, "checkpoint_every=24")
    whole = train(config, shards, tmp_path / "whole", {})
    for images in (40, 56, 112):
        with pytest.raises(Interrupted, match=f"{images} of 176 images"):
            train(config, shards, tmp_path / "stopped", {}, on_step=stop_at(images, terminate))
    assert same(train(config, shards, tmp_path / "stopped", {}).generator, whole.generator)
    assert history(tmp_path / "stopped") == history(tmp_path / "whole")


def test_sigterm_saves_no_broken_numbers(tmp_path: Path, shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(game, "reconstruction_loss", _Broken(2))
    with pytest.raises(Interrupted, match="0 of 64 images"):
        train(tiny_config("log_every=64", "checkpoint_every=64"), shards, tmp_path, {}, on_step=stop_at(24, terminate))
    assert not checkpoints(tmp_path)
