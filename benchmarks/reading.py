"""Compares the speed of training on shards with training on one batch that stays in memory.

The same trainer runs both in turns; only the loader's cost differs. The steps are those of the warm-up, the shortest,
so that they hide the least of the loader's work. On a GPU, whose loader works ahead in processes of its own, a turn is
a block of steps, and the batches prepared during the other way's turn are used up before the clock starts.
"""

import tempfile
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer

from benchmarks.tools import FOLDER, ROOT, speedup, write
from components.preprocess.step import preprocess
from model.config import TrainConfig
from model.data.batches import Batch
from model.data.shards import Shards
from model.training.distributed import join_processes
from model.training.gan import GanTrainer
from model.training.loader import batches
from model.training.start import new_generator
from pipeline.config import load_config

_DRAINED = 16  # batches that a GPU's loader holds ready, and more
_GPU_BLOCK = 64  # steps


def main(
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Turns of each way; a turn is a step on a CPU.", show_default="40, or 12")
    ] = None,
    photos: Annotated[Path, typer.Option(help="Folder of photographs.")] = ROOT / "data",
    result: Annotated[Path, typer.Option(help="File of figures to write.")] = FOLDER / "reading.json",
) -> None:
    """Measures the recipes small and best, and on a GPU the defaults of params.yaml too."""
    gpu = torch.cuda.is_available()
    rounds = rounds or (12 if gpu else 40)
    figures, rows = {}, []
    for recipe in ("small", "best", *(["defaults"] if gpu else [])):
        recipes = () if recipe == "defaults" else (ROOT / "recipes" / f"{recipe}.yaml",)
        config = load_config(ROOT / "params.yaml", recipes)
        with tempfile.TemporaryDirectory() as scratch:
            preprocess(photos, Path(scratch) / "dataset", config.preprocess, data_version="benchmark")
            shards = Shards.open(Path(scratch) / "dataset", "train")
            fixed, read = compare(config.train, shards, rounds=rounds, block=_GPU_BLOCK if gpu else 1)
        share = speedup(fixed, read)
        figures[f"{recipe}: speed on shards / on one batch in memory"] = share
        rows.append({"recipe": recipe, "step": median(fixed), "step_with_reading": median(read), "ratio": share})
    device = torch.cuda.get_device_name() if gpu else "CPU"
    write(result, figures, device=device, torch=torch.__version__, rounds=rounds, seconds=rows)


def compare(config: TrainConfig, shards: Shards, rounds: int, block: int = 1) -> tuple[list[float], list[float]]:
    """Returns the seconds of a step in each round: with one batch in memory, and with the training's loader.

    Args:
        config: section `train`.
        shards: the photographs for training.
        rounds: number of turns of each way.
        block: steps in a turn. With more than one, the batches that the loader has prefetched are used up first.
    """
    drained = _DRAINED if block > 1 else 0
    with join_processes() as dist:
        trainer = GanTrainer(config, new_generator(config), dist)
        needed = (rounds + 1) * (block + drained) * config.batch_size
        steps = iter(batches(config.model_copy(update={"images": needed}), shards, dist))
        batch = next(iter(batches(config, shards, dist)))
        fixed, read = [], []
        for turn in range(rounds + 1):
            for times, source in ((fixed, iter([batch] * (block + drained))), (read, steps)):
                for read_ahead in islice(source, drained):
                    trainer.step(read_ahead, 0)
                seconds = _seconds(trainer, islice(source, block), dist.device) / block
                if turn:  # the first round warms up
                    times.append(seconds)
    return fixed, read


def _seconds(trainer: GanTrainer, source: Iterable[Batch], device: torch.device) -> float:
    _wait(device)
    started = time.perf_counter()
    for batch in source:
        trainer.step(batch, 0)
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
