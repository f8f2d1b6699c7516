"""The whole graph on this machine, through kfp.local: the run itself, and what came of each step."""

import contextlib
import copy
import fcntl
import io
import json
import logging
import os
import secrets
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from kfp import dsl, local
from kfp.dsl.graph_component import GraphComponent

from components.command import JOURNAL, RETRY_ME
from components.provenance import code_version
from components.resolve.step import resolve
from components.tree import RUN_ID
from components.workspace import VARIABLE, workspace
from model.config import Config
from model.errors import UserError
from pipeline import ROOT
from pipeline.arguments import CACHED_STEPS, retraining_arguments, sweep_arguments, trial_arguments
from pipeline.cluster import load_cluster
from pipeline.data import ensure_data, folder_version
from pipeline.graph import retraining, trial
from pipeline.sweep import build as build_sweep
from pipeline.variants import Variants

STEPS = ("resolve", *CACHED_STEPS, "register", "gate", "promote", "reject", "report")


@dataclass(frozen=True)
class StepResult:
    """How one step ended: done, reused, failed, interrupted or not run; its own seconds; its message if it failed."""

    step: str
    outcome: str
    seconds: float | None = None
    message: str = ""


@dataclass(frozen=True)
class RunResult:
    """A run's steps in order, and the folders that `register` saw: generator, evaluation, registration."""

    steps: tuple[StepResult, ...]
    folders: dict[str, Path]
    seconds: float
    log: Path

    @property
    def trouble(self) -> StepResult | None:
        """The step that ended the run, if one did."""
        return next((step for step in self.steps if step.outcome in ("failed", "interrupted")), None)

    @property
    def exit_status(self) -> int:
        if self.trouble is None:
            return 0
        return RETRY_ME if self.trouble.outcome == "interrupted" else 1


def run(config: Config, recipe: str, photos: Path | None = None) -> RunResult:
    """Runs the graph. Steps whose inputs, parameters and code are unchanged are reused.

    Args:
        config: All sections.
        recipe: Its name, for the record.
        photos: Folder of photographs; data/ as DVC knows it when not given.

    Raises:
        UserError: the data cannot be had, or another run is at work in the workspace. A failing step raises nothing:
            see `RunResult.trouble`.
    """
    started = time.monotonic()
    with _Session(tree=True) as session:
        folder, data_version = _photographs(photos)
        images = "none: run on a machine without images"
        arguments = retraining_arguments(config, recipe, folder, data_version, session.checkpoints, images)
        session.execute(retraining, **arguments)
        steps, folders = _read_journal(session.journal)
    return RunResult(steps, folders, time.monotonic() - started, session.log)


def run_sweep(variants: Variants, photos: Path | None = None) -> RunResult:
    """Runs a sweep, one variant after the other, as `run` runs a recipe. One that fails keeps none of the others from
    being trained; the sweep then ends before it chooses, and started again reuses what is finished."""
    started = time.monotonic()
    with _Session(tree=True) as session:
        folder, data_version = _photographs(photos)
        images = "none: run on a machine without images"
        arguments = sweep_arguments(variants, folder, data_version, session.checkpoints, images)
        pairs = tuple(f"{step} {name}" for name in variants.configs for step in ("train", "evaluate"))
        place = STEPS.index("train")
        session.steps = (*STEPS[:place], *pairs, "choose", *STEPS[place + 2 :])
        session.execute(build_sweep(load_cluster(), at_once=1), **arguments)
        steps, folders = _read_journal(session.journal, session.steps)
    return RunResult(steps, folders, time.monotonic() - started, session.log)


def run_trial(config: Config, photos: Path | None = None) -> dict[str, Path]:
    """Runs preprocess, train and evaluate, as `run` does, and registers nothing.

    Returns:
        The folders: dataset, generator, evaluation.

    Raises:
        UserError: as `run`; or a step failed, in its own words.
    """
    with _Session(tree=False) as session:  # MLflow shows a run for each variant, with scores beside losses
        folder, data_version = _photographs(photos)
        arguments = trial_arguments(config, folder, data_version, session.checkpoints)
        codes = {name: code_version(name) for name in CACHED_STEPS}
        settled = resolve(folder, data_version, config.preprocess, config.train, codes)
        outputs = session.execute(trial, **arguments | {"train_config": settled.train_config})
        steps, _ = _read_journal(session.journal)
    for step in steps:
        if step.outcome in ("failed", "interrupted"):
            raise UserError(f"{step.step} {step.outcome}: {step.message}")
    return {name: Path(artifact.path) for name, artifact in outputs.items()}


class _Session:
    """One execution of a graph in a workspace: its lock, its environment, its folder with journal and log.

    With `tree`, its steps' MLflow runs are one tree.
    """

    def __init__(self, tree: bool) -> None:
        self.workspace = workspace()
        self.stamp = time.strftime("%Y%m%d-%H%M%S")
        self.run_id = f"local-{self.stamp}-{secrets.token_hex(2)}" if tree else ""
        folder = self.workspace / "runs" / self.stamp
        self.journal = folder / "journal.jsonl"
        self.log = folder / "log.txt"
        self.checkpoints = str(self.workspace / "checkpoints")
        self.steps = STEPS
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "_Session":
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        self._stack.enter_context(_alone(self.workspace))
        self._stack.enter_context(_environment(self.journal, self.run_id))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def execute(self, pipeline: GraphComponent, **arguments: object) -> dict[str, dsl.Artifact]:
        """Runs a graph and returns its outputs; none if a step failed, for the journal says which and why."""
        graph = copy.deepcopy(pipeline)
        for component in (graph.pipeline_spec.root, *graph.pipeline_spec.components.values()):
            for task in component.dag.tasks.values():
                task.ClearField("retry_policy")  # for lost nodes; here a failure should be seen at once
        local.init(
            runner=local.SubprocessRunner(use_venv=False),
            pipeline_root=str(self.workspace / "pipeline"),
            cache_root=str(self.workspace / "cache" / "kfp"),
            enable_caching=True,
            raise_on_error=True,
        )
        with self.log.open("w", encoding="utf-8") as log, _quiet(log):
            try:
                return dict(graph(**arguments).outputs)
            except RuntimeError:  # what kfp raises when a task has failed
                if not any(
                    step.outcome in ("failed", "interrupted") for step in _read_journal(self.journal, self.steps)[0]
                ):
                    raise
                return {}


def _photographs(folder: Path | None) -> tuple[str, str]:
    """The folder, data/ when none is given, and the version of what is in it."""
    if folder is not None:
        return str(folder.resolve()), folder_version(folder)
    data = ensure_data(ROOT)
    print(f"{data.files} files in data/, version {data.version}. {data.note}".rstrip(), flush=True)
    return str(ROOT / "data"), data.version


@contextlib.contextmanager
def _quiet(log: TextIO) -> Iterator[None]:
    """Silences kfp's account of every task: the steps speak for themselves."""
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(_StepLines(sys.stdout, log)), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*(no effect in the current local runner|non-Python base image)")
            yield
    finally:
        logging.disable(logging.NOTSET)


class _StepLines(io.TextIOBase):
    """Keeps all that is printed in a log, and passes the steps' own lines on to the terminal.

    What is not theirs: kfp's rules and blank lines, the indentation it adds, and its executor's account of its input,
    a line that begins with "[KFP Executor" and JSON between two lone braces.
    """

    def __init__(self, terminal: TextIO, log: TextIO) -> None:
        self._terminal, self._log = terminal, log
        self._line, self._in_json = "", False

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._log.write(line + "\n")
            self._log.flush()
            content = line.strip()
            if content == "{" or self._in_json:
                self._in_json = line.rstrip() != "    }"
            elif content.strip("-") and not content.startswith("[KFP Executor"):
                self._terminal.write(content + "\n")
                self._terminal.flush()
        return len(text)


def _read_journal(path: Path, steps: tuple[str, ...] = STEPS) -> tuple[tuple[StepResult, ...], dict[str, Path]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    entries = {entry["step"]: entry for entry in map(json.loads, lines)}
    body = [step for step in steps if step != "report"]
    reached = max((body.index(step) for step in entries if step in body), default=-1)
    dead = None
    all_well = all(entry["outcome"] == "done" for entry in entries.values())
    if "report" in entries and reached < body.index("promote") and all_well:
        # The exit task ran but the gate's branches did not: the step after the last that spoke died without a word.
        dead = body[reached + 1]
    results = []
    for step in steps:
        if step in entries:
            entry = entries[step]
            results.append(StepResult(step, entry["outcome"], entry["seconds"], entry["message"]))
        elif step == dead:
            results.append(StepResult(step, "failed", None, "it died without a word (killed, or out of memory?)"))
        elif step.split()[0] in CACHED_STEPS and body.index(step) < reached:
            results.append(StepResult(step, "reused"))
        else:
            results.append(StepResult(step, "not run"))
    notes = {k: v for step in ("choose", "register") for k, v in entries.get(step, {}).get("notes", {}).items()}
    return tuple(results), {name: Path(folder) for name, folder in notes.items()}


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another run is at work here; wait for it to end.") from None
        yield


@contextlib.contextmanager
def _environment(journal: Path, run_id: str) -> Iterator[None]:
    """What the steps' processes inherit."""
    ours = {
        JOURNAL: str(journal),
        RUN_ID: run_id,
        VARIABLE: str(workspace()),
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
