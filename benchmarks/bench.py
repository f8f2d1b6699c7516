"""`make bench`: every speed benchmark of a CPU, and its figures beside those last committed.

Each program writes its JSON as it does alone; `git diff benchmarks/` then shows what changed in detail.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import typer

from benchmarks.machine import FOLDER, ROOT, machine

PROGRAMS: dict[str, tuple[str, ...]] = {
    "preprocess": ("--rounds", "1"),
    "reading": (),
    "train_step": (),
    "train_step_gpu": (),
    "streaming": (),
}
"""The programs in their order, with what makes them quick."""


def main() -> None:
    """Runs all of them; one that fails is named at the end, and the others' figures stand."""
    committed = {name: figures(_committed(name)) for name in PROGRAMS}
    failed = []
    for name, options in PROGRAMS.items():
        started = time.perf_counter()
        print(f"--- {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], cwd=ROOT).returncode:
            failed.append(name)
        print(f"--- {time.perf_counter() - started:.0f} s\n", flush=True)
    print(machine())
    print(table(committed, {name: figures(_read(FOLDER / f"{name}.json")) for name in PROGRAMS if name not in failed}))
    if failed:
        sys.exit(f"error: failed: {', '.join(failed)}")


def figures(result: dict[str, Any]) -> dict[str, float]:
    """A program's figures by name; none for an empty result."""
    if "figures" in result or "rows" not in result:
        found: dict[str, float] = result.get("figures", {})
        return found
    return {
        f"{row['set']} at {row['size']} pixels: {figure}": row[figure]
        for row in result["rows"]  # preprocess
        for figure in ("times_plain", "share_of_decoding")
    }


def table(committed: dict[str, dict[str, float]], new: dict[str, dict[str, float]]) -> str:
    """One line a figure: program, figure, what was committed, what was measured now."""
    lines = [f"{'program':<16}{'figure':<56}{'committed':>12}{'now':>12}"]
    for program, now in new.items():
        before = committed.get(program, {})
        for name in dict.fromkeys((*before, *now)):
            values = (f"{found[name]:.4g}" if name in found else "-" for found in (before, now))
            lines.append(f"{program:<16}{name:<56}" + "".join(f"{value:>12}" for value in values))
    return "\n".join(lines)


def _committed(name: str) -> dict[str, Any]:
    """The result as git has it; empty where it has none."""
    shown = subprocess.run(["git", "show", f"HEAD:benchmarks/{name}.json"], cwd=ROOT, capture_output=True)
    return json.loads(shown.stdout) if shown.returncode == 0 else {}


def _read(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(path.read_bytes())
    return result


if __name__ == "__main__":
    typer.run(main)
