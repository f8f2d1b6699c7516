"""Runner of the whole graph on this machine, through kfp.local."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from kfp import local

from components.shared.machine import records
from components.shared.machine.code import UNKNOWN, git_commit
from components.shared.machine.pipeline_run import LOCAL, RUN_ID
from components.shared.machine.verbosity import note
from components.shared.machine.workspace import VARIABLE, workspace
from components.shared.photos.folder import Folder, printable
from components.shared.step import AGAIN, DAMAGED, JOURNAL, RETRY_ME, at_work, require_room
from model.utils.errors import Interrupted, UserError
from model.utils.signals import handled
from pipeline import ROOT
from pipeline.arguments import arguments
from pipeline.data.versions import ensure_data, folder_version
from pipeline.graph import retraining
from pipeline.local import journal, processes
from pipeline.local.console import quiet
from pipeline.local.journal import StepResult
from pipeline.local.view import view
from pipeline.variants import Variants


@dataclass(frozen=True)
class RunResult:
    """Holds the steps of a run in order, and the folders that they noted, such as registration."""

    steps: tuple[StepResult, ...]
    folders: dict[str, Path]
    seconds: float
    log: Path
    told: dict[str, Any]
    """Content of the exit task's message; empty when there was none."""

    @property
    def trouble(self) -> StepResult | None:
        """Returns the step that ended the run, if one did."""
        return next((step for step in self.steps if step.outcome in ("failed", "interrupted")), None)

    @property
    def rejected(self) -> bool:
        """Returns True when the gate said no."""
        if self.trouble:
            return False
        record = json.loads((self.folders["registration"] / "registration.json").read_bytes())
        return bool(record["outcome"] == "reject")

    @property
    def exit_status(self) -> int:
        if self.trouble is None:
            return 0
        return RETRY_ME if self.trouble.outcome == "interrupted" else 1


def run(variants: Variants, photos: Path | None = None) -> RunResult:
    """Runs the graph, one variant after the other. Steps whose inputs, parameters and code are unchanged are reused.

    A variant that fails keeps none of the others from being trained; the run then ends before it chooses, and started
    again reuses what is finished.

    Args:
        variants: at least one.
        photos: folder of photographs; data/ as DVC knows it when not given.

    Raises:
        UserError: the data cannot be had, or another run is at work in the workspace. A failing step raises nothing:
            see `RunResult.trouble`.
        Interrupted: SIGTERM or Ctrl-C came while no step was at work.
    """
    started = time.monotonic()
    with _Session(tuple(variants.configs)) as session:
        folder, data_version = _photographs(photos, session.workspace)
        if git_commit() == "unknown":
            note(f"The model will be registered without its git commit: {UNKNOWN}.")
        images = "none: run on a machine without images"
        session.execute(**arguments(variants, folder, data_version, session.checkpoints, images))
        steps, folders = session.result()
    return RunResult(steps, folders, time.monotonic() - started, session.log, session.told)


class _Session:
    """Holds one execution of the graph in a workspace: its lock, its environment, its folder with journal and log."""

    def __init__(self, variants: tuple[str, ...]) -> None:
        self.workspace = workspace()
        self.stamp = time.strftime("%Y%m%d-%H%M%S")
        self.run_id = f"{LOCAL}{self.stamp}-{secrets.token_hex(2)}"
        folder = self.workspace / "runs" / self.stamp
        self.journal = folder / "journal.jsonl"
        self.log = folder / "log.txt"
        self.checkpoints = str(self.workspace / "checkpoints")
        self.steps = journal.expected(variants)
        self.ended_by = ""
        self.told: dict[str, Any] = {}

    def __enter__(self) -> "_Session":
        _require_writable(self.workspace)
        with contextlib.ExitStack() as stack:
            stack.enter_context(_alone(self.workspace))
            stack.enter_context(_environment(self.journal, self.run_id))
            stack.enter_context(_stoppable())
            self.journal.parent.mkdir(parents=True, exist_ok=True)
            for name in ("cache", "checkpoints", "pipeline"):  # kfp reports no reason when it may not write
                (self.workspace / name).mkdir(exist_ok=True)
                tempfile.TemporaryFile(dir=self.workspace / name).close()
            for half_made in (self.workspace / "pipeline").glob("*/*/.*.partial"):  # of runs that were killed
                shutil.rmtree(half_made, ignore_errors=True)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def execute(self, **arguments: object) -> None:
        """Runs the graph. A failing step raises nothing: the journal says which one failed and why.

        A damaged output of an earlier run that a step has come upon is removed, so that the next run makes it anew.
        """
        local.init(
            runner=local.SubprocessRunner(use_venv=False),
            pipeline_root=str(self.workspace / "pipeline"),
            cache_root=str(self.workspace / "cache" / "kfp"),
            enable_caching=True,
            raise_on_error=True,
        )
        try:
            with (
                self.log.open("w", encoding="utf-8") as log,
                view(self.steps) as shown,
                quiet(shown, log) as said,
                processes.started_here(),
            ):
                try:
                    retraining(**arguments)
                finally:
                    self.told = said.outcome
        except (RuntimeError, OSError) as error:  # what kfp raises when a task has failed, or the disk is full
            self.ended_by = journal.failed_task(str(error), self.steps)
            steps, _ = self.result()
            if not any(step.outcome in ("failed", "interrupted") for step in steps):
                require_room()
                raise
        for entry in journal.entries(self.journal).values():
            damaged = Path(entry["notes"].get(DAMAGED, ""))
            if damaged.is_relative_to(self.workspace / "pipeline"):
                shutil.rmtree(damaged)

    def result(self) -> tuple[tuple[StepResult, ...], dict[str, Path]]:
        """Returns how each step ended, and the folders that the last ones noted."""
        return journal.read(self.journal, self.steps, self.ended_by, processes.stopped())


def _photographs(folder: Path | None, here: Path) -> tuple[str, str]:
    """Returns the folder, data/ when none is given, and the version of what is in it; says what is passed by."""
    if folder is None:
        data = ensure_data(ROOT)
        folder, version = data.folder, data.version
        note(f"{data.files} files in data/, version {version}. {data.note}".rstrip())
    else:
        version = folder_version(folder)
    folder = folder.resolve()
    for sentence in Folder(folder).passed_by():
        note(f"passed by: {sentence}")
    return str(_nameable(folder, here)), version


def _nameable(folder: Path, here: Path) -> Path:
    """Returns a path that kfp can hand on: the folder, or a link to it in the workspace if its path is not UTF-8."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        link = here / "photos" / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        link.parent.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(folder)
        note(f"The path {printable(str(folder))} is not UTF-8; the run reads it through {link}.")
        return link
    return folder


def _require_writable(folder: Path) -> None:
    """Makes the workspace where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise UserError(f"{folder}: {error.strerror}; set {VARIABLE} to a folder that you may write to.") from None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with at_work(exclusive=True):
                pass
        except BlockingIOError:
            raise UserError(f"{folder}: another run, or a step of it, is at work here; wait for it to end.") from None
        yield


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Passes SIGTERM and Ctrl-C on to the step at work, so that the run ends with it.

    Raises:
        Interrupted: no step was at work.
    """

    def stop(*_: object) -> None:
        if not processes.terminate():
            raise KeyboardInterrupt

    with handled({signal.SIGTERM: stop, signal.SIGINT: stop}):
        try:
            yield
        except KeyboardInterrupt:
            raise Interrupted(f"the run was told to stop; {AGAIN}.") from None


@contextlib.contextmanager
def _environment(journal_file: Path, run_id: str) -> Iterator[None]:
    """Sets the environment that the steps' processes inherit, and restores it."""
    ours = {
        JOURNAL: str(journal_file),
        RUN_ID: run_id,
        VARIABLE: str(workspace()),
        records.VARIABLE: "1",
        "PYTHONUNBUFFERED": "1",
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
