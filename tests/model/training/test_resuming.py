"""Tests of resuming: a crash, SIGTERM, kill -9 and the number of processes do not change the result."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

from model.config import TrainConfig
from model.data.shards import Shards
from model.inference.saved import save_generator
from model.training.checkpoint import checkpoints
from model.training.loop import train
from model.utils.errors import Interrupted
from tests.support.patience import patience
from tests.support.tiny import ROOT, tiny_config, tiny_dataset
from tests.support.trainings import CrashError, Recorder, crash, history, same, stop_at, terminate

HINTS = ("generator.hints=true", "hints=0.75")
EVERYTHING_RANDOM = (
    "generator.noise=gaussian",
    "generator.norm=batch",
    "discriminator.norm=batch",
    "damage=0.5",
    *HINTS,
)
LOWER_RATE = "learning_rate=0.0001"  # rounding grows with the steps' size
DROPOUT = ("generator.noise=dropout",)
CRITIC = ("warmup_images=16", "critic_images=16", "game_rate=0.5", "objective.adversarial_weighting=gradient")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("tiny"))


def _alone(config: TrainConfig, dataset: Path, folder: Path) -> Path:
    trained = train(config, Shards.open(dataset, "train"), folder, {})
    save_generator(folder, trained.generator, crop=16, size=24, images=trained.images)
    return folder


@pytest.mark.parametrize(
    "overrides", [(), CRITIC, DROPOUT, EVERYTHING_RANDOM], ids=["default", "critic", "dropout", "batch norm"]
)
def test_a_crash_after_any_step_does_not_change_the_result(
    tmp_path: Path, dataset: Path, overrides: tuple[str, ...]
) -> None:
    """Rows and checkpoints fall on different steps, so that checkpoints must keep the running means."""
    config, shards = tiny_config("log_every=24", *overrides), Shards.open(dataset, "train")
    whole = train(config, shards, tmp_path / "whole", {})
    for images in range(8, 72, 8):
        folder = tmp_path / str(images)
        with pytest.raises(CrashError):
            train(config, shards, folder, {}, reporter=stop_at(images, crash))
        torch.manual_seed(images)  # a new process begins anywhere
        assert same(train(config, shards, folder, {}).generator, whole.generator), f"crash after {images} images"
        assert history(folder) == history(tmp_path / "whole")


def test_sigterm_saves_a_checkpoint_and_the_next_start_resumes(tmp_path: Path, dataset: Path) -> None:
    config, shards = tiny_config("checkpoint_every=1000", "log_every=24"), Shards.open(dataset, "train")
    whole = train(config, shards, tmp_path / "whole", {})
    folder, before = tmp_path / "stopped", signal.getsignal(signal.SIGTERM)
    for images in (8, 24, 40):
        with pytest.raises(Interrupted, match=f"{images} of 64 images"):
            train(config, shards, folder, {}, reporter=stop_at(images, terminate))
        assert checkpoints(folder)[0].stem == f"checkpoint-{images:012d}"
        assert signal.getsignal(signal.SIGTERM) is before
    assert same(train(config, shards, folder, {}).generator, whole.generator)
    assert history(folder) == history(tmp_path / "whole")


def test_sigterm_in_the_last_step_is_ignored(tmp_path: Path, dataset: Path) -> None:
    trained = train(tiny_config(), Shards.open(dataset, "train"), tmp_path, {}, reporter=stop_at(64, terminate))
    assert trained.images == 64


def test_a_damaged_checkpoint_is_skipped_and_the_result_is_the_same(
    tmp_path: Path, dataset: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, shards = tiny_config(), Shards.open(dataset, "train")
    whole = train(config, shards, tmp_path, {})
    rows = history(tmp_path)
    newest = checkpoints(tmp_path)[0]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 4
    newest.write_bytes(content)
    resumed = Recorder()
    again = train(config, shards, tmp_path, {}, reporter=resumed)
    assert resumed.steps[0] == 40  # from the checkpoint of 32 images, not that of 48
    assert newest.name in caplog.text
    assert same(again.generator, whole.generator)
    assert history(tmp_path) == rows


def _command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "tests" / "support" / "run_training.py"), *arguments]


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_kill_9_at_random_moments_does_not_change_the_result(tmp_path: Path, dataset: Path) -> None:
    overrides = ("images=1600", "warmup_images=400", "checkpoint_every=16", "log_every=40")
    whole = _alone(tiny_config(*overrides), dataset, tmp_path / "whole")
    kills = 0
    draw = random.Random()
    folder = tmp_path / "killed"
    while True:
        process = subprocess.Popen(
            _command(str(dataset), str(folder), *overrides), env=_environment(), stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        until = draw.randrange(1, 80) if kills < 3 else 10_000  # steps; then it may finish
        for _, _ in zip(process.stdout, range(until), strict=False):
            pass
        if process.poll() is None and kills < 3:
            time.sleep(draw.uniform(0, 0.02))  # anywhere in a step, in a row, in a checkpoint
            process.kill()
            kills += 1
        code = process.wait()
        assert code in (0, -signal.SIGKILL)
        if code == 0:
            break
    for name in ("generator.safetensors", "generator.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    assert history(folder) == history(whole)
    assert kills == 3


def _together(dataset: Path, folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, *_command(str(dataset), str(folder), *overrides)[1:]]
    return subprocess.run(
        command, env=_environment(), capture_output=True, text=True, check=False, timeout=patience(240)
    )


def _distance(one: Path, other: Path) -> float:
    weights = [safetensors.torch.load_file(folder / "generator.safetensors") for folder in (one, other)]
    return max((weights[0][name] - weights[1][name]).abs().max().item() for name in weights[0])


@pytest.mark.slow
def test_two_processes_match_one_and_resume_its_checkpoint(tmp_path: Path, dataset: Path) -> None:
    """The trainings pass all phases, validate, select the best snapshot, and raise an alarm."""
    alarming = ("health.ab_spread=[0,0.01]", "health.patience=1")
    watched = (*CRITIC, "validate_every=16", "select=l1_ab", *alarming, LOWER_RATE)
    alone = _alone(tiny_config(*watched), dataset, tmp_path / "alone")
    assert [row["images"] for row in history(alone) if "health_alarm" in row] == [48]
    assert [row["phase"] for row in history(alone)] == ["warmup", "critic", "full", "full"]
    other_seed = _alone(tiny_config(*watched, "seed=1"), dataset, tmp_path / "other")
    result = _together(dataset, tmp_path / "together", *watched)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [str(images) for images in range(8, 72, 8)]  # only the main process prints
    # Adam makes a step of full size of any gradient, so rounding grows with the steps, but far below a step's size.
    assert _distance(alone, tmp_path / "together") < 1e-4 < 0.01 < _distance(alone, other_seed)
    for mine, theirs in zip(history(alone), history(tmp_path / "together"), strict=True):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            assert theirs[name] == (pytest.approx(value, rel=0.01, abs=1e-3) if isinstance(value, float) else value)

    stopped = tmp_path / "stopped"
    with pytest.raises(CrashError):
        train(tiny_config(*watched), Shards.open(dataset, "train"), stopped, {}, reporter=stop_at(40, crash))
    result = _together(dataset, stopped, *watched)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["40", "48", "56", "64"]
    assert _distance(alone, stopped) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("skip", ["true", "false"])
def test_a_pretrained_encoder_trains_in_two_processes(tmp_path: Path, skip: str) -> None:
    dataset = tiny_dataset(tmp_path / "dataset", size=32)
    encoder = ("generator.encoder=efficientnet_lite0", "generator.levels=5", f"generator.skip={skip}", "images=32")
    result = _together(dataset, tmp_path / "model", "crop=32", "encoder_learning_rate=1e-4", *encoder)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "model" / "generator.safetensors").is_file()
