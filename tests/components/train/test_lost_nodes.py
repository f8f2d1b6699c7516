"""Tests of the train step after the loss of its node: on an empty node it ends with the same result."""

import json
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from components.images.hashes import code_version
from components.shared.s3.client import Address
from components.train.step import train
from model.utils.errors import Interrupted
from tests.support.command import COLORIZE, environment
from tests.support.faulty_proxy import FaultyProxy
from tests.support.remote import checkpoints, latest
from tests.support.s3 import S3Server
from tests.support.tiny import tiny_config, tiny_dataset, tiny_overrides
from tests.support.trainings import history, terminate

pytestmark = pytest.mark.usefixtures("one_thread")

LONGER = ("images=3200", "log_every=80", "sample_every=1600", "checkpoint_every=80")
LONGEST = ("images=16000", "log_every=800", "sample_every=4000", "checkpoint_every=400")
UPLOADS = r"^PUT .*/checkpoint-"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("tiny"))


class Nodes:
    """Runs the train step as a process, each time in a new, empty folder, as on a new node."""

    def __init__(
        self,
        folder: Path,
        dataset: Path,
        proxy: FaultyProxy,
        root: Address,
        seed: int,
        overrides: tuple[str, ...],
        name: str = "node",
    ) -> None:
        self._folder, self._proxy, self._name = folder, proxy, name
        self._draw = random.Random(seed)
        sets = [part for override in overrides for part in ("--set", f"train.{override}")]
        self._command = [*COLORIZE, "step", "train"]
        self._command += ["--dataset", str(dataset), "--out", "model", "--checkpoints", str(root)]
        self._command += [*tiny_overrides(), *sets]
        mlflow = f"sqlite:///{folder / 'workspace' / 'mlflow.db'}"  # on a server of its own
        self._environment = environment(MLFLOW_TRACKING_URI=mlflow, PYTHONUNBUFFERED="1")
        self._count = 0

    def run(
        self, kill: signal.Signals | None = None, after: tuple[int, int] = (0, 0), counted: str = ""
    ) -> tuple[Path, int, str]:
        """Starts the step and sends the signal a moment after a number of requests to S3, drawn from a range.

        Args:
            kill: the signal; None lets the step end by itself.
            after: the range.
            counted: a pattern of the requests that count; all by default.

        Returns:
            The node's folder, the exit status, and what it said on stderr.
        """
        self._count += 1
        node = self._folder / f"{self._name}-{self._count}"
        node.mkdir()
        begin, until = len(self._proxy.requests), self._draw.randint(*after)
        process = subprocess.Popen(
            self._command, cwd=node, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if kill:
            seen: list[str] = []
            while process.poll() is None and len(seen) < until:
                time.sleep(0.005)
                seen = [request for request in self._proxy.requests[begin:] if re.search(counted, request)]
            time.sleep(self._draw.uniform(0, 0.2))
            with suppress(ProcessLookupError):
                process.send_signal(kill)
        _, errors = process.communicate()
        return node, process.returncode, errors


@pytest.fixture
def termination_ignored() -> Iterator[None]:
    """Ignores SIGTERM in this process where training does not catch it."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGTERM, before)


def _terminate_at_upload(number: int) -> Callable[[str], None]:
    """Returns an `answer` of the proxy that passes requests on and sends SIGTERM to this process at one upload."""
    left = number

    def answer(request: str) -> None:
        nonlocal left
        left -= bool(re.search(UPLOADS, request))
        if not left:
            terminate(0)

    return answer


def _same_as_undisturbed(node: Path, dataset: Path, overrides: tuple[str, ...]) -> None:
    train(dataset, Path("undisturbed"), Path("elsewhere"), tiny_config(*overrides))
    for name in ("generator.safetensors", "generator.json"):
        assert (node / "model" / name).read_bytes() == Path("undisturbed", name).read_bytes()
    assert history(node / "model") == history(Path("undisturbed"))
    pictures = [
        {path.name: path.read_bytes() for path in (out / "samples").iterdir()}
        for out in (node / "model", Path("undisturbed"))
    ]
    assert pictures[0] == pictures[1]


@pytest.mark.slow
@pytest.mark.usefixtures("termination_ignored")
def test_a_lost_node_does_not_change_the_result(
    workplace: Path, dataset: Path, proxy: FaultyProxy, s3: S3Server, root: Address
) -> None:
    proxy.planned = {UPLOADS: "truncate request", "^GET .*/checkpoint-": "truncate answer"}
    _, status, errors = Nodes(workplace, dataset, proxy, root, 1, LONGER).run(signal.SIGKILL, (4, 5), UPLOADS)
    assert status == -signal.SIGKILL, errors
    first = latest(s3, root)
    assert 0 < first < 3200

    def go_on() -> None:
        """Resumes as on another node, but in this process, which is faster."""
        shutil.rmtree("workspace/checkpoints", ignore_errors=True)
        train(dataset, Path("model"), str(root), tiny_config(*LONGER), code_version("train"))

    proxy.answer = _terminate_at_upload(3)
    with pytest.raises(Interrupted) as interrupted:
        go_on()
    second = latest(s3, root)
    saved = re.search(r"^(\d+) of 3200 images .* has the checkpoint of (\d+) images$", str(interrupted.value))
    assert saved, interrupted.value
    assert int(saved[1]) == int(saved[2]) == second > first
    rows = "".join(f"{json.dumps(row)}\n" for row in checkpoints(s3, root)[-1].history)

    proxy.planned |= {UPLOADS: "stall", "^DELETE .*/checkpoint-": "refuse after", "^GET .*/checkpoint-": "drop"}
    go_on()
    assert not proxy.planned
    assert (
        Path("model/history.jsonl").read_text().startswith(rows)
    )  # with the same times: these rows come from the checkpoint
    _same_as_undisturbed(workplace, dataset, LONGER)


@pytest.mark.slow
def test_two_simultaneous_attempts_end_with_the_same_model(
    workplace: Path, dataset: Path, proxy: FaultyProxy, s3: S3Server, root: Address
) -> None:
    """The first attempt's node counts as dead, but still writes."""
    nodes = [Nodes(workplace, dataset, proxy, root, 1, LONGER, name) for name in ("stale", "new")]
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda each: each.run(), nodes))
    for node, status, errors in ended:
        assert status == 0, errors
        _same_as_undisturbed(node, dataset, LONGER)
    assert checkpoints(s3, root)[-1].images == 3120


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2])
def test_ten_lost_nodes_do_not_change_the_result(
    workplace: Path, dataset: Path, proxy: FaultyProxy, s3: S3Server, root: Address, seed: int
) -> None:
    proxy.share = 0.25
    nodes = Nodes(workplace, dataset, proxy, root, seed, LONGEST)
    positions = [0]
    for kill in 5 * (signal.SIGKILL, signal.SIGTERM):
        _, status, errors = nodes.run(kill, after=(1, 20))  # while it starts, fetches, trains, uploads
        assert status in (-kill, 75), errors
        positions.append(latest(s3, root))
    proxy.stall_seconds = 25  # longer than boto3's patience
    node, status, errors = nodes.run()
    assert status == 0, errors
    assert positions == sorted(positions)
    assert 0 < positions[-1] < 16000
    assert sum(proxy.faults.values()) > 20
    _same_as_undisturbed(node, dataset, LONGEST)
