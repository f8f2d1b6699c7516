"""Runs the speed benchmarks that this machine can run and prints their figures beside those last committed."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.tools import FOLDER, ROOT, machine

PROGRAMS: dict[str, tuple[str, ...]] = {
    "preprocess": ("--rounds", "1"),
    "reading": (),
    "train_step": (),
    "streaming": (),
}
"""Benchmarks in their order, with the options that keep them short."""


def main() -> None:
    """Runs all of them; names those that fail at the end and keeps the figures of the others."""
    committed = {name: _committed(name) for name in PROGRAMS}
    failed = []
    for name, options in PROGRAMS.items():
        started = time.perf_counter()
        print(f"--- {name}", flush=True)
        if subprocess.run([sys.executable, "-m", "benchmarks", name, *options], cwd=ROOT).returncode:
            failed.append(name)
        print(f"--- {time.perf_counter() - started:.0f} s\n", flush=True)
    print(machine())
    print(table(committed, {name: _read(FOLDER / f"{name}.json") for name in PROGRAMS if name not in failed}))
    if failed:
        sys.exit(f"error: failed: {', '.join(failed)}")


def table(committed: dict[str, dict[str, float]], new: dict[str, dict[str, float]]) -> str:
    """Formats one line a figure: benchmark, figure, committed value, measured value."""
    lines = [f"{'benchmark':<16}{'figure':<56}{'committed':>12}{'now':>12}"]
    for program, now in new.items():
        before = committed.get(program, {})
        for name in dict.fromkeys((*before, *now)):
            values = (f"{found[name]:.4g}" if name in found else "-" for found in (before, now))
            lines.append(f"{program:<16}{name:<56}" + "".join(f"{value:>12}" for value in values))
    return "\n".join(lines)


def _committed(name: str) -> dict[str, float]:
    shown = subprocess.run(["git", "show", f"HEAD:benchmarks/{name}.json"], cwd=ROOT, capture_output=True)
    result: dict[str, Any] = json.loads(shown.stdout) if shown.returncode == 0 else {}
    return result.get("figures", {})


def _read(path: Path) -> dict[str, float]:
    figures: dict[str, float] = json.loads(path.read_bytes()).get("figures", {})
    return figures
