"""Tests of the worker pool: order of results, bounded look-ahead, dying workers and a dying parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.preprocess.pool import in_processes
from components.shared.step import RETRY_ME
from pipeline import ROOT
from tests.support.patience import patience


def test_results_come_in_the_order_of_the_items():
    assert list(in_processes(lambda item: item**2, range(100), 2)) == [(item, item**2) for item in range(100)]
    assert list(in_processes(abs, [], 2)) == []


def test_the_number_of_items_in_progress_is_bounded():
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = in_processes(abs, endless(), 2)
    for number in range(1, 500):
        assert next(results) == (number, number)
        assert taken - number < 100
    results.close()


def test_an_item_that_kills_its_worker_yields_none():
    deadly = {3, 4, 97}

    def work(item: int) -> int:
        if item in deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return -item

    expected = [(item, None if item in deadly else -item) for item in range(200)]
    assert list(in_processes(work, range(200), 2)) == expected


def test_exceptions_of_workers_are_raised_in_the_parent():
    def work(item: int) -> float:
        return 1 / (item - 40)

    with pytest.raises(ZeroDivisionError):
        list(in_processes(work, range(100), 2))


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, time\n"
        "from components.preprocess.pool import in_processes\n"
        "def work(item):\n"
        "    os.write(1, f'{os.getpid()}\\n'.encode())\n"
        "    time.sleep(60)\n"
        "list(in_processes(work, range(64), 2))\n",
        encoding="utf-8",
    )
    with subprocess.Popen([sys.executable, script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        parent.kill()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_sigterm_between_two_forks_ends_the_step(workplace: Path) -> None:
    program = workplace / "program.py"
    program.write_text(
        "import os, signal\n"
        "from multiprocessing.popen_fork import Popen\n"
        "from components.shared.step import step\n"
        "from components.preprocess.pool import in_processes\n"
        "launch = Popen._launch\n"
        "def told(self, process):\n"
        "    launch(self, process)\n"
        "    if process.name.endswith('-2'):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "Popen._launch = told\n"
        "with step('preprocess'):\n"
        "    list(in_processes(abs, range(1000), 2))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, program], env=environment, capture_output=True, text=True, timeout=patience(120)
    )
    assert (done.returncode, done.stderr) == (
        RETRY_ME,
        "interrupted: it was told to stop; run the same command again to resume.\n",
    )
