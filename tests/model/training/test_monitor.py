"""Tests of the monitor: the causes of an alarm, its consequences, and interruptions around it."""

import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from torch import Tensor

from model.data.shards import Shards
from model.training import gan
from model.training.checkpoint import checkpoints
from model.training.loop import train
from model.training.monitor import Monitor
from model.utils.errors import Interrupted, TrainingFailed
from tests.support.tiny import tiny_config, tiny_dataset
from tests.support.trainings import CrashError, Recorder, crash, history, same, stop_at, terminate

LOST = ("warmup_images=64", "images=176", "health.patience=2", "health.ab_spread=[0,0.01]")
"""Puts every row after the warm-up beyond the limit, so that the alarm comes at 96 images."""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return Shards.open(tiny_dataset(tmp_path_factory.mktemp("tiny")), "train")


def _alarms(folder: Path) -> list[int]:
    return [row["images"] for row in history(folder) if "health_alarm" in row]


# Causes of an alarm

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
def test_a_metric_beyond_its_limits_for_several_rows_raises_one_alarm(
    changed: dict[str, float], words: tuple[str, ...]
) -> None:
    monitor = Monitor(tiny_config("health.patience=3").health)
    row = {"images": 16, "phase": "full", **GOOD, **changed}
    raised = [monitor.check(row) for _ in range(7)]
    alarm = raised.pop(2)
    assert raised == [None] * 6  # once while it lasts
    assert (alarm is not None) is bool(words)
    for word in words:
        assert alarm
        assert word in f"{alarm.reason}; {alarm.advice}"


def test_rows_before_the_game_and_single_bad_rows_raise_no_alarm() -> None:
    monitor = Monitor(tiny_config("health.patience=2").health)
    bad = GOOD | {"d_accuracy": 1.0, "z_sensitivity": 0.0}
    for _ in range(5):
        assert monitor.check({"phase": "warmup", **bad}) is None
        assert monitor.check({"phase": "critic", **bad}) is None
        assert monitor.check({"phase": "full", **bad}) is None  # never two in a row
        assert monitor.check({"phase": "full", "ab_spread": 6.0, "ab_spread_real": 9.0}) is None  # neither D nor z


@pytest.mark.parametrize("phase", ["warmup", "full"])
def test_a_non_finite_metric_raises_a_fatal_alarm_at_once(phase: str) -> None:
    alarm = Monitor(tiny_config().health).check({"images": 16, "phase": phase, **GOOD, "reconstruction": math.nan})
    assert alarm
    assert alarm.fatal
    assert "reconstruction" in alarm.reason


# Consequences of an alarm


def test_an_alarm_does_not_affect_the_training(
    tmp_path: Path, shards: Shards, caplog: pytest.LogCaptureFixture
) -> None:
    reporter = Recorder()
    lost = train(tiny_config(*LOST, "images=112"), shards, tmp_path / "lost", {}, reporter=reporter)
    free = train(tiny_config(*LOST, "images=112", "health.ab_spread=[0,1000]"), shards, tmp_path / "free", {})
    assert _alarms(tmp_path / "lost") == [96]
    (sentence,) = reporter.alarms
    assert [line for line in caplog.messages if "not healthy" in line] == [sentence]
    for words in ("at 96 images", "above 0.01, 2 rows in a row", "lower train.objective", "Training continues"):
        assert words in sentence
    assert same(lost.generator, free.generator)


def test_a_healthy_training_raises_no_alarm(tmp_path: Path, shards: Shards) -> None:
    train(tiny_config("images=160"), shards, tmp_path, {})
    assert not _alarms(tmp_path)


def test_a_diverging_training_raises_an_alarm(tmp_path: Path, shards: Shards) -> None:
    """Trains with an absurd weight and an absurd learning rate."""
    absurd = ("objective.adversarial_weight=10000", "learning_rate=0.05", "clip_gradient=0", "ema_half_life=0")
    reporter = Recorder()
    with suppress(TrainingFailed):
        train(tiny_config("images=480", "health.patience=2", *absurd), shards, tmp_path, {}, reporter=reporter)
        assert reporter.alarms
    assert _alarms(tmp_path)


def _breaking(after: int) -> Callable[[str, Tensor, Tensor], Tensor]:
    """Returns a reconstruction loss that is NaN at one step."""
    steps = 0

    def loss(kind: str, predicted: Tensor, target: Tensor) -> Tensor:
        nonlocal steps
        steps += 1
        return (predicted - target).abs().mean() * (math.nan if steps == after else 1.0)

    return loss


@pytest.mark.parametrize(
    ("overrides", "noticed"), [((), 80), (("log_every=24", "checkpoint_every=40"), 80)], ids=["at a row", "in between"]
)
def test_a_non_finite_loss_ends_the_training_at_the_next_row_or_checkpoint(
    tmp_path: Path, shards: Shards, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], noticed: int
) -> None:
    monkeypatch.setattr(gan, "reconstruction_loss", _breaking(10))
    with pytest.raises(TrainingFailed, match=rf"at {noticed} images .* lower train\.learning_rate"):
        train(tiny_config("images=112", "decay=none", *overrides), shards, tmp_path, {})
    assert _alarms(tmp_path) == [noticed]
    assert [row["images"] for row in history(tmp_path) if "reconstruction" not in row] == [noticed]


# Interruptions around an alarm


@pytest.mark.parametrize("images", [80, 88, 104])
def test_a_crash_around_an_alarm_does_not_change_the_result(tmp_path: Path, shards: Shards, images: int) -> None:
    config = tiny_config(*LOST, "checkpoint_every=24")
    whole = train(config, shards, tmp_path / "whole", {})
    assert _alarms(tmp_path / "whole") == [96]
    with pytest.raises(CrashError):
        train(config, shards, tmp_path / "killed", {}, reporter=stop_at(images, crash))
    assert same(train(config, shards, tmp_path / "killed", {}).generator, whole.generator)
    assert history(tmp_path / "killed") == history(tmp_path / "whole")


def test_sigterm_around_an_alarm_does_not_change_the_result(tmp_path: Path, shards: Shards) -> None:
    config = tiny_config(*LOST, "checkpoint_every=24")
    whole = train(config, shards, tmp_path / "whole", {})
    for images in (40, 88, 112):
        with pytest.raises(Interrupted, match=f"{images} of 176 images"):
            train(config, shards, tmp_path / "stopped", {}, reporter=stop_at(images, terminate))
    assert same(train(config, shards, tmp_path / "stopped", {}).generator, whole.generator)
    assert history(tmp_path / "stopped") == history(tmp_path / "whole")


def test_sigterm_after_a_non_finite_loss_saves_no_checkpoint(
    tmp_path: Path, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gan, "reconstruction_loss", _breaking(2))
    config = tiny_config("log_every=64", "checkpoint_every=64")
    with pytest.raises(TrainingFailed, match="at 24 images"):
        train(config, shards, tmp_path, {}, reporter=stop_at(24, terminate))
    assert not checkpoints(tmp_path)
