"""Tests of several processes on one node: the step runs torchrun and exits like a single process."""

import json
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch

from components.shared.mlflow import connection
from components.train.environment import PROCESSES, RETRIES
from components.train.launch import train
from model.data.shards import Shards
from model.training.distributed import ProcessGroup
from model.training.loader import batches
from model.utils.errors import UserError
from tests.support.command import COLORIZE, environment
from tests.support.tiny import tiny_config, tiny_dataset, tiny_overrides

pytestmark = pytest.mark.usefixtures("one_thread")

LONGER = ("images=1600", "log_every=400", "sample_every=800", "checkpoint_every=80")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("tiny"))


def start(dataset: Path, out: str, *overrides: str) -> subprocess.Popen[str]:
    """Starts the step with two processes, which are started again once."""
    sets = [part for override in overrides for part in ("--set", f"train.{override}")]
    command = [*COLORIZE, "step", "train", *tiny_overrides(), *sets]
    return subprocess.Popen(
        [*command, "--dataset", str(dataset), "--out", out],
        env=environment(**{PROCESSES: "2", RETRIES: "1"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_a_checkpoint(process: subprocess.Popen[str], workplace: Path) -> None:
    while process.poll() is None and not list(workplace.glob("workspace/checkpoints/*/checkpoint-*")):
        time.sleep(0.01)


@pytest.mark.slow
def test_two_processes_exit_and_resume_like_one(workplace: Path, dataset: Path) -> None:
    """Stops the step with SIGTERM, starts it again, and kills a worker."""
    process = start(dataset, "model", *LONGER)
    wait_for_a_checkpoint(process, workplace)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 75, errors
    (said,) = re.findall(
        r"^interrupted: (\d+) of 1600 images are trained and saved in .*; run the same command again",
        errors,
        re.M,
    )
    assert "Traceback" not in errors

    process = start(dataset, "model", *LONGER)
    while process.poll() is None and len(children := psutil.Process(process.pid).children()) < 2:
        time.sleep(0.01)
    children[1].kill()
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "train: SIGKILL ended attempt 1 of 2; the next one begins" in errors
    assert errors.count("train: 1600 of 1600 images") == 1
    assert json.loads(Path("model/training.json").read_text())["processes"] == 2
    client = connection.connect()
    (run,) = client.search_runs([client.get_experiment_by_name("colorizer").experiment_id])
    assert run.info.status == "FINISHED"
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "reconstruction")]
    assert steps == [400, 800, 1200, 1600]
    assert int(said) > 0


def test_a_wrong_number_of_processes_is_named_in_one_line(
    workplace: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROCESSES, "two")
    with pytest.raises(UserError, match=r"COLORIZE_PROCESSES is 'two'; give a number, 1 or more"):
        train(dataset, Path("model"), "checkpoints", tiny_config())
    process = start(dataset, "model", "batch_size=9")
    _, errors = process.communicate()
    assert process.returncode == 1
    (said,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert said == "error: train.batch_size is 9; it must be a multiple of the 2 processes."
    assert "Traceback" not in errors


def test_reader_processes_survive_the_sigterm_of_torchrun(dataset: Path) -> None:
    """torchrun sends SIGTERM to the whole process group, but the last step still needs its batch."""
    gpu = ProcessGroup(0, 1, torch.device("cuda"))
    loader = batches(tiny_config("images=800"), Shards.open(dataset, "train"), gpu)
    loader.pin_memory = False  # so that the test needs no GPU
    before = {child.pid for child in psutil.Process().children()}
    left = iter(loader)
    for _ in range(4):  # one from each reader: all have begun
        next(left)
    readers = [child for child in psutil.Process().children() if child.pid not in before]
    try:
        assert len(readers) == 4
        for reader in readers:
            reader.terminate()
        assert len(list(left)) == 96
    finally:  # a reader that survives would keep pytest from ending
        for reader in readers:
            with suppress(psutil.NoSuchProcess):
                reader.kill()
