"""Rig for a real local run in a folder of its own: starts it, waits for a step, kills it, reads its results."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.support import small_run
from tests.support.small_run import Ended
from tests.support.tiny import ROOT

STEPS = (
    "resolve",
    "partition",
    "preprocess",
    "merge",
    "inspect",
    "train",
    "evaluate",
    "choose",
    "register",
    "promote",
    "report",
)
SMALL = (*small_run.SMALL, "train.checkpoint_every=16", "evaluate.samples=2")
PATIENCE = 1200
"""Seconds after which a run counts as hung; on an idle machine it takes tens of seconds."""


def flip(path: Path) -> None:
    """Flips a bit in the middle of a file; a second call undoes it."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)  # DVC's are read-only
    path.write_bytes(content)


def require_clean(run: Ended, *steps: str) -> None:
    """Fails unless a run ended with an error message and status 1 in one of these steps."""
    assert run.status == 1, run.output
    assert "Traceback" not in run.output, run.output
    assert not steps or any(run.outcomes.get(step) == "failed" for step in steps), run.output


def _children(pid: int) -> list[int]:
    """Returns the children of a process, without a scan of all processes as psutil's."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, task.read_text().split())
    return found


@dataclass
class Started:
    """Controls a run under way and its steps, which share a process group."""

    process: subprocess.Popen[bytes]
    output: Path

    def step(self, name: str) -> psutil.Process:
        """Waits for the process of a step; returns it."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            children = _children(self.process.pid)
            for pid in (*children, *(step for child in children for step in _children(child))):  # of a prefix's shell
                with suppress(psutil.NoSuchProcess):
                    process = psutil.Process(pid)
                    command = process.cmdline()
                    if command[1:2] == ["-m"] and command[-1] == name:
                        return process
            time.sleep(0.03)
        raise AssertionError(f"there was no {name}:\n{self.output.read_text()}")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal to the run and all its steps."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill_step(self, step: psutil.Process) -> bool:
        """Kills a step alone; returns False, and leaves the run suspended, if the step has ended."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            step.suspend()
            if step.status() == psutil.STATUS_ZOMBIE:
                return False
            step.kill()
        except psutil.NoSuchProcess:
            return False
        self.process.send_signal(signal.SIGCONT)
        return True

    def end(self) -> Ended:
        try:
            status = self.process.wait(PATIENCE)
        finally:
            self.kill()
        return Ended(status, self.output.read_text(encoding="utf-8"))


@dataclass
class Rig:
    """Holds the photographs, settings and workspace of a run."""

    folder: Path
    photos: Path | None
    environment: dict[str, str] = field(default_factory=dict)
    settings: tuple[str, ...] = SMALL
    prefix: tuple[str, ...] = ()
    root: Path = ROOT

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def start(self, *overrides: str) -> Started:
        """Starts `colorize run`."""
        photographs = ["--photos", str(self.photos)] if self.photos else []
        sets = [part for override in (*self.settings, *overrides) for part in ("--set", override)]
        return self._start("run", "--recipe", "small", *photographs, *sets)

    def colorize(self, *arguments: str) -> Ended:
        """Runs another command of `colorize` to its end."""
        return self._start(*arguments).end()

    def _start(self, *arguments: str) -> Started:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "COLORIZE"))}
        ours = {"COLORIZE_WORKSPACE": str(self.workspace), "PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "1"}
        output = self.folder / f"output-{time.monotonic_ns()}.txt"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "pipeline.cli.main", *arguments],
                cwd=self.folder,
                env=clean | self.environment | ours,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        return Started(process, output)

    def run(self, *overrides: str) -> Ended:
        return self.start(*overrides).end()

    def seconds(self) -> dict[str, float]:
        """Returns the seconds of each step of the last run, from its journal."""
        journal = max((self.workspace / "runs").glob("*/journal.jsonl"))
        entries = map(json.loads, journal.read_text(encoding="utf-8").splitlines())
        return {entry["step"].split()[0]: entry["seconds"] for entry in entries}

    def aliases(self) -> dict[str, int]:
        return small_run.aliases(self.workspace)
