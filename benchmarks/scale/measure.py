"""What a step takes: CPU seconds, memory, disk."""

import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.scale.steps import Step


def measured(step: Step, n: int) -> dict[str, float]:
    """A step with n photographs, prepared in one process and run in another.

    Returns:
        n; seconds of CPU, of wall; megabytes at the peak, and of these what was there before; bytes left on disk.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        alone(_in_workspace, folder, step.prepare, folder, n)
        row = alone(_in_workspace, folder, _measure, step.run, folder)
    print(json.dumps({"n": n, **row}), flush=True)
    return {"n": n, **row}


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls it in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


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
    """Of this process and of those it has waited for."""
    times = os.times()
    return sum(times[:4])


def _peak() -> float:
    """MB that this process, or the largest of those that it has waited for, has held at once."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1000


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
