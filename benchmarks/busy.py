"""Compares threads that rest, and threads that spin, while they wait for each other, on a quiet and on a busy machine.

OpenMP reads `OMP_WAIT_POLICY` once, when it is loaded. So each turn is a process of its own, which colors a photograph
of 0.8 megapixels with the champion and takes training steps of recipe small in its game. A turn of each way follows
the other, each as often first, on the quiet machine and then beside processes that count without end. The default is
what OpenMP does without the variable: it spins for some milliseconds.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from benchmarks.tools import FOLDER, ROOT, alone, speedup, write
from model.utils.cores import WAITING, cores
from model.utils.signals import end_with

WAYS = {"passive": "PASSIVE", "default": "", "active": "ACTIVE"}
"""Values of OMP_WAIT_POLICY by name; empty: not set. The first is what every program of this project sets."""


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each way on each machine.")] = 3,
    loops: Annotated[int, typer.Option(min=1, help="Busy processes for each core.")] = 2,
    colorings: Annotated[int, typer.Option(min=1, help="Colorings in a turn.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Training steps in a turn.")] = 5,
    photograph: Annotated[Path, typer.Option(help="To color.")] = ROOT / "data" / "scratch" / "Nature__hill.jpg",
    champion: Annotated[Path, typer.Option(help="Generator folder.")] = ROOT / "champion",
    result: Annotated[Path, typer.Option(help="File of figures to write.")] = FOLDER / "busy.json",
) -> None:
    """Measures all ways on both machines; prints and writes the figures."""
    machines = {"quiet": 0, "busy": loops * cores()}
    rows = []
    for number in range(rounds):
        order = list(WAYS)[number % len(WAYS) :] + list(WAYS)[: number % len(WAYS)]
        for name, processes in machines.items():
            with spinning(processes):
                seconds = {way: alone(turn, WAYS[way], photograph, champion, colorings, steps) for way in order}
            rows.append({"machine": name, "load": round(os.getloadavg()[0], 1), "seconds": seconds})
            print(f"round {number + 1} of {rounds}, {name}: {seconds}", flush=True)
    write(result, figures(rows), threads=cores(), busy_processes=machines["busy"], rounds=rows)


def figures(rows: list[dict[str, object]]) -> dict[str, float]:
    """Returns the median seconds of each kind of work, machine and way, and how many times faster resting threads are.

    Args:
        rows: the rounds, with machine, and seconds by way and kind of work.
    """
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        assert isinstance(row["seconds"], dict)
        for way, seconds in row["seconds"].items():
            for work, value in seconds.items():
                found[f"{work}, {row['machine']}"][way].append(value)
    first, *others = WAYS
    shown = {f"{name}: {way}, seconds": round(median(times[way]), 3) for name, times in found.items() for way in WAYS}
    return shown | {
        f"{name}: {way} / {first}": speedup(times[way], times[first]) for name, times in found.items() for way in others
    }


def turn(policy: str, photograph: Path, champion: Path, colorings: int, steps: int) -> dict[str, float]:
    """Returns the seconds of a coloring and of a training step, in a process that has not loaded PyTorch before.

    Args:
        policy: OMP_WAIT_POLICY; empty: not set.
        photograph: to color.
        champion: generator folder.
        colorings: number of colorings that are timed, after one that is not.
        steps: number of training steps that are timed, after one that is not.
    """
    if policy:
        os.environ[WAITING] = policy
    else:
        os.environ.pop(WAITING, None)
    import numpy as np
    from PIL import Image

    from benchmarks.train_step import Setting, batch, training_step
    from model.inference.colorizer import Colorizer
    from pipeline.config import load_config

    with Image.open(photograph) as opened:
        rgb = np.asarray(opened.convert("RGB").resize((1024, 768)))
    colorizer = Colorizer.load(champion)
    small = load_config(ROOT / "params.yaml", (ROOT / "recipes" / "small.yaml",)).train
    step = training_step(small, Setting("as trained", precision=small.precision), batch(small))
    return {
        "a coloring": _seconds(lambda: colorizer.colorize(rgb), colorings),
        "a training step": _seconds(step, steps),
    }


def _seconds(work: Callable[[], object], times: int) -> float:
    """Returns the mean seconds of a call, after one that is not counted."""
    work()
    started = time.perf_counter()
    for _ in range(times):
        work()
    return round((time.perf_counter() - started) / times, 4)


@contextmanager
def spinning(processes: int) -> Iterator[None]:
    """Keeps processes busy beside the block."""
    context = get_context("spawn")
    running = [context.Process(target=_count, args=(os.getpid(),), daemon=True) for _ in range(processes)]
    for process in running:
        process.start()
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.join()


def _count(parent: int) -> None:
    end_with(parent)
    while True:
        pass
