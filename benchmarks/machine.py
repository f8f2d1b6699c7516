"""What the speed benchmarks share: the machine's name, ways measured in turns, figures on file."""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks"


def machine() -> str:
    """The CPU, the cores that this process may use, and Python's version."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    return f"{name}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"


class Times(NamedTuple):
    """Of each round of a way."""

    wall: list[float]
    """Seconds."""
    cpu: list[float]
    """Seconds of all threads: what a busy machine lengthens least."""


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, Times]:
    """The times of each way, by its name: one call of each, then the next of each.

    What else the machine does then hits all of them alike. The first `warm_up` rounds are not counted.
    """
    times = {name: Times([], []) for name in ways}
    for turn in range(warm_up + rounds):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            way()
            if turn >= warm_up:
                times[name].wall.append(time.perf_counter() - wall)
                times[name].cpu.append(time.process_time() - cpu)
    return times


def speedup(slow: Sequence[float], fast: Sequence[float]) -> float:
    """How many times as fast: the median over rounds of the ratio within a round."""
    return round(median(a / b for a, b in zip(slow, fast, strict=True)), 3)


def write(path: Path, figures: Mapping[str, float], **details: Any) -> None:
    """Writes a result: `figures` by name, which `make bench` compares, with the machine, the date and details."""
    result = {"machine": machine(), "date": time.strftime("%Y-%m-%d"), "figures": dict(figures), **details}
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    width = max((len(name) for name in figures), default=0)
    for name, value in figures.items():
        print(f"{name:<{width}}  {value:g}")
