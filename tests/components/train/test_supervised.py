"""Tests of a training that its step supervises: killed, it is started again and ends as if nothing had happened."""

import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from components.shared.mlflow import connection
from components.train.environment import RETRIES
from components.train.launch import train
from components.train.torchrun import run_workers
from model.utils.errors import UserError
from tests.support.command import COLORIZE, environment
from tests.support.tiny import tiny_config, tiny_dataset, tiny_overrides
from tests.support.trainings import history

pytestmark = pytest.mark.usefixtures("one_thread")

LONGER = ("images=3200", "log_every=400", "sample_every=1600", "checkpoint_every=80")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("tiny"))


class Supervised:
    """Runs the train step as a process that starts a killed training again."""

    def __init__(self, dataset: Path, retries: int) -> None:
        sets = [part for override in LONGER for part in ("--set", f"train.{override}")]
        self._said = Path("said.txt").open("w+")  # noqa: SIM115 - closed with the process of the test
        self.step = subprocess.Popen(
            [*COLORIZE, "step", "train", *tiny_overrides(), *sets, "--dataset", str(dataset), "--out", "model"],
            env=environment(**{RETRIES: str(retries)}),
            stdout=subprocess.DEVNULL,
            stderr=self._said,
        )

    def training(self, later_than: int = 0) -> psutil.Process:
        """Waits for a checkpoint of more images than these; returns the process that trains."""
        while self.step.poll() is None:
            workers = [each for each in psutil.Process(self.step.pid).children() if each.status() != "zombie"]
            if workers and newest() > later_than:
                return workers[0]
            time.sleep(0.01)
        raise AssertionError(self.end())

    def end(self) -> tuple[int, str]:
        status = self.step.wait()
        self._said.seek(0)
        return status, self._said.read()


def newest() -> int:
    """Returns the images of the newest checkpoint."""
    names = [path.stem for path in Path("workspace/checkpoints").glob("*/checkpoint-*.safetensors")]
    return max((int(name.removeprefix("checkpoint-")) for name in names), default=0)


@pytest.mark.slow
def test_a_training_killed_twice_ends_with_the_same_weights_in_one_run(workplace: Path, dataset: Path) -> None:
    supervised = Supervised(dataset, retries=3)
    supervised.training().kill()
    supervised.training(later_than=newest() + 80).send_signal(signal.SIGSEGV)
    supervised.training(later_than=newest() + 80)
    supervised.step.terminate()
    status, said = supervised.end()
    assert status == 75, said
    assert re.search(r"^interrupted: \d+ of 3200 images are trained and saved", said, re.M), said
    assert re.findall(r"^train: (.* ended attempt .*)$", said, re.M) == [
        "SIGKILL ended attempt 1 of 4; the next one begins",
        "SIGSEGV ended attempt 2 of 4; the next one begins",
    ]
    resumed = [int(images) for images in re.findall(r"^train: resumes from (\d+) of 3200 images$", said, re.M)]
    assert 80 <= resumed[0] < resumed[1]
    assert "Traceback" not in said

    client = connection.connect()
    (run,) = client.search_runs([client.get_experiment_by_name("colorizer").experiment_id])
    ended = "SIGKILL ended attempt 1 of 4; SIGSEGV ended attempt 2 of 4"
    assert run.data.tags["restarts"] == f"{ended}; resumed from {resumed[1]} images"

    status, said = Supervised(dataset, retries=3).end()
    assert status == 0, said
    (run,) = client.search_runs([client.get_experiment_by_name("colorizer").experiment_id])
    assert run.info.status == "FINISHED"
    train(dataset, Path("undisturbed"), "elsewhere", tiny_config(*LONGER))
    for name in ("generator.safetensors", "generator.json"):
        assert Path("model", name).read_bytes() == Path("undisturbed", name).read_bytes()
    assert history(Path("model")) == history(Path("undisturbed"))


@pytest.mark.slow
def test_a_training_that_is_always_killed_ends_with_a_sentence(workplace: Path, dataset: Path) -> None:
    supervised = Supervised(dataset, retries=1)
    supervised.training().kill()
    supervised.training(later_than=newest() + 80).kill()
    status, said = supervised.end()
    assert status == 1
    (sentence,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert sentence == (
        "error: SIGKILL ended attempt 2 of 2 at the training; give it more memory, and run the same command again to "
        "resume."
    )
    assert "Traceback" not in said


@pytest.mark.slow
def test_no_training_outlives_its_killed_step(workplace: Path, dataset: Path) -> None:
    supervised = Supervised(dataset, retries=3)
    training = supervised.training()
    supervised.step.kill()
    training.wait(60)  # psutil raises an error when it still runs
    assert newest() < 3200
    assert not Path("model").exists()


def test_mistakes_and_bugs_are_not_tried_again(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(RETRIES, "3")
    with pytest.raises(UserError, match=r"nothing"):
        train(Path("nothing"), Path("model"), "checkpoints", tiny_config())
    with pytest.raises(ChildFailedError):
        run_workers({}, 1, 3)
    said = capfd.readouterr().err
    assert said.count("KeyError: ") == 1
    assert "the next one begins" not in said
    monkeypatch.setenv(RETRIES, "-1")
    with pytest.raises(UserError, match=r"COLORIZE_RETRIES is '-1'; give a number, 0 or more\."):
        train(Path("nothing"), Path("model"), "checkpoints", tiny_config())
