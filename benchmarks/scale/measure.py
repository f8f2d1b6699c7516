"""Measurement of a step: CPU seconds, memory, disk."""

import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.scale.steps import Step
from benchmarks.tools import alone


def measured(step: Step, n: int) -> dict[str, float]:
    """Measures a step with n photographs, prepared in one process and run in another.

    Returns:
        n; CPU seconds and wall-clock seconds; megabytes at the peak and before the call; bytes left on disk.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        alone(_in_workspace, folder, step.prepare, folder, n)
        row = alone(_in_workspace, folder, _measure, step.run, folder)
    print(json.dumps({"n": n, **row}), flush=True)
    return {"n": n, **row}


def _in_workspace(folder: Path, function: Callable[..., Any], *arguments: Any) -> Any:
    os.environ["COLORIZE_WORKSPACE"] = str(folder / "workspace")
    return function(*arguments)


def _measure(run: Callable[[Path], object], folder: Path) -> dict[str, float]:
    before, wall, cpu = _peak(), time.perf_counter(), _cpu()
    disk = _bytes(folder)
    run(folder)
    return {
        "seconds": round(_cpu() - cpu, 3),
        "wall_seconds": round(time.perf_counter() - wall, 3),
        "megabytes": round(_peak(), 1),
        "megabytes_before": round(before, 1),
        "bytes": _bytes(folder) - disk,
    }


def _cpu() -> float:
    """Returns the CPU seconds of this process and of those it has waited for."""
    times = os.times()
    return sum(times[:4])


def _peak() -> float:
    """Returns the peak memory in MB of this process or of the largest that it has waited for."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1000


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
