"""What came of each step of a local run: by the journal that steps keep, and by what kfp says of one that died."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared.machine.workspace import workspace
from components.shared.mlflow.tree import KILLED
from components.shared.step import AGAIN, is_full
from pipeline.arguments import CACHED_STEPS

STEPS = ("resolve", *CACHED_STEPS, "register", "gate", "promote", "reject", "report")
"""Of the graph, in order."""

_FAILED_TASK = re.compile(r"task failed: \S*?'([a-z]+)[^']*'\S*(?: inside \S*?'for-loop-\d+-iteration-(\d+)')?")


@dataclass(frozen=True)
class StepResult:
    """How one step ended: done, reused, failed, interrupted or not run; its own seconds; its message if it failed."""

    step: str
    outcome: str
    seconds: float | None = None
    message: str = ""


def failed_task(said: str, steps: tuple[str, ...]) -> str:
    """Which step kfp says has failed, of which the journal has nothing where it died without a word."""
    found = _FAILED_TASK.search(said)
    names = [step for step in steps if found and step.split()[0] == found[1]]
    return names[int(found[2] or 0) if len(names) > 1 else 0] if found and names else ""


def read(path: Path, steps: tuple[str, ...], ended_by: str) -> tuple[tuple[StepResult, ...], dict[str, Path]]:
    """How each step ended, and what the last ones noted: names of folders.

    Args:
        path: of the journal.
        steps: all of the graph, in order.
        ended_by: which one kfp says has failed, or nothing.
    """
    said = entries(path)
    body = [step for step in steps if step != "report"]
    reached = max((body.index(step) for step in (*said, ended_by) if step in body), default=-1)
    results = []
    for step in steps:
        entry = said.get(step)
        if step == ended_by and (entry is None or entry["outcome"] == "done"):  # of its partitions, some
            results.append(StepResult(step, "failed", None, _last_words()))
        elif entry:
            results.append(StepResult(step, entry["outcome"], entry["seconds"], entry["message"]))
        elif step.split()[0] in CACHED_STEPS and body.index(step) < reached:
            results.append(StepResult(step, "reused"))
        else:
            results.append(StepResult(step, "not run"))
    notes = {k: v for step in ("choose", "register") for k, v in said.get(step, {}).get("notes", {}).items()}
    return tuple(results), {name: Path(folder) for name, folder in notes.items()}


def entries(journal: Path) -> dict[str, dict[str, Any]]:
    """A step's last words, as `shared.step` wrote them; of its partitions, those of the one that failed."""
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    said: dict[str, dict[str, Any]] = {}
    for entry in map(json.loads, lines):
        if entry["step"] not in said or said[entry["step"]]["outcome"] == "done":
            said[entry["step"]] = entry
    return said


def _last_words() -> str:
    """Of a step that left none."""
    if is_full():
        return f"{workspace()}: No space left on device; make room, then {AGAIN}."
    return f"{KILLED}; {AGAIN}."
