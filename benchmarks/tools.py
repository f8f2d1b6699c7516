"""Helpers of the benchmarks: the machine's name, timing in turns, calls in a process of their own, results on file."""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeVar

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks"

T = TypeVar("T")


def machine() -> str:
    """Returns the CPU's name, the number of cores that this process may use, and Python's version."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    return f"{name}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"


class Times(NamedTuple):
    """Holds the seconds of each round of a way."""

    wall: list[float]
    """Wall-clock seconds."""
    cpu: list[float]
    """CPU seconds of all threads, which other work on the machine changes least."""


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, Times]:
    """Times each way by calling all of them in turns, so that other work on the machine slows all of them alike.

    Args:
        ways: the calls by name.
        rounds: counted calls of each way.
        warm_up: calls of each way before these, not counted.
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
    """Returns the median over rounds of slow / fast within a round."""
    return round(median(a / b for a, b in zip(slow, fast, strict=True)), 3)


def alone(function: Callable[..., T], *arguments: Any) -> T:
    """Calls a function in a new process, which imports what it needs before the call."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def write(path: Path, figures: Mapping[str, float], **details: Any) -> None:
    """Writes a result as JSON and prints its figures.

    Args:
        path: file to write.
        figures: by name; `python -m benchmarks speed` compares them with those last committed.
        **details: anything else; the machine and the date are added.
    """
    result = {"machine": machine(), "date": time.strftime("%Y-%m-%d"), "figures": dict(figures), **details}
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    width = max((len(name) for name in figures), default=0)
    for name, value in figures.items():
        print(f"{name:<{width}}  {value:g}")
