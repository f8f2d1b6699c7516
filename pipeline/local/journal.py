"""Reads what came of each step of a local run: from the journal that steps keep, and from kfp's own error."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from components.shared.machine.workspace import workspace
from components.shared.mlflow.tree import KILLED
from components.shared.step import AGAIN, DAMAGED, is_full
from model.utils.files import read_lines
from pipeline.steps import steps

_FAILED_TASK = re.compile(r"task failed: \S*?'([a-z0-9-]+)'\S*(?: inside \S*?'for-loop-\d+-iteration-(\d+)')?")


@dataclass(frozen=True)
class StepResult:
    """Holds how a step ended: done, reused, failed, interrupted or not run; its own seconds; its error message."""

    step: str
    outcome: str
    seconds: float | None = None
    message: str = ""


def expected(variants: Sequence[str]) -> dict[str, str]:
    """Returns the steps of a run in order: as the journal names them, and as people see them.

    The journal names the steps of each variant after it. Where there is one, people need no name.
    """
    names: dict[str, str] = {}
    for per_variant, group in groupby(steps(), key=lambda step: step.per_variant):
        listed = [step.name for step in group]
        if per_variant:
            labels = [f"{name} {variant}" for variant in variants for name in listed]
            names |= {label: label if len(variants) > 1 else label.split()[0] for label in labels}
        else:
            names |= {name: name for name in listed}
    return names


def failed_task(error: str, names: Mapping[str, str]) -> str:
    """Returns the step that kfp says has failed, as the journal names it; empty when kfp names none.

    The journal has nothing of a step whose process ended without an error message.
    """
    found = _FAILED_TASK.search(error)
    labels = [label for label in names if found and label.split()[0] == found[1]]
    return labels[int(found[2] or 0) if len(labels) > 1 else 0] if found and labels else ""


def read(
    path: Path, names: Mapping[str, str], ended_by: str, stopped: bool = False
) -> tuple[tuple[StepResult, ...], dict[str, Path]]:
    """Returns how each step ended, and the folders that steps noted by name.

    Args:
        path: the journal.
        names: as of `expected`.
        ended_by: the step that kfp says has failed, or empty.
        stopped: whether the run was told to stop.
    """
    said = entries(path)
    cached = {step.name for step in steps() if step.cached}
    body = list(names)[:-1]  # the exit task runs in any case
    reached = max((body.index(step) for step in (*said, ended_by) if step in body), default=-1)
    results = []
    for step, shown in names.items():
        entry = said.get(step)
        if step == ended_by and (entry is None or entry["outcome"] == "done"):  # the other partitions may be done
            without = ("interrupted", f"it was told to stop; {AGAIN}.") if stopped else ("failed", _last_words())
            results.append(StepResult(shown, without[0], None, without[1]))
        elif entry:
            results.append(StepResult(shown, entry["outcome"], entry["seconds"], entry["message"]))
        elif step.split()[0] in cached and body.index(step) < reached:
            results.append(StepResult(shown, "reused"))
        else:
            results.append(StepResult(shown, "not run"))
    notes = {name: folder for entry in said.values() for name, folder in entry["notes"].items() if name != DAMAGED}
    return tuple(results), {name: Path(folder) for name, folder in notes.items()}


def entries(journal: Path) -> dict[str, dict[str, Any]]:
    """Returns the last line of each step, as `shared.step` wrote it; of partitions, that of the one that failed."""
    said: dict[str, dict[str, Any]] = {}
    for entry in read_lines(journal):
        if entry["step"] not in said or said[entry["step"]]["outcome"] == "done":
            said[entry["step"]] = entry
    return said


def _last_words() -> str:
    """Returns the message of a step that left none."""
    if is_full():
        return f"{workspace()}: No space left on device; make room, then {AGAIN}."
    return f"{KILLED}; {AGAIN}."
