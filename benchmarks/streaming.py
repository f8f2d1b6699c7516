"""Compares the speed of shards streamed from S3 through the cache with shards on this disk.

The benchmark publishes a synthetic set to an S3 server on loopback. In turns it draws one epoch of training batches
from the disk and one through an empty cache that holds a part of the set, without a network that trains. The result is
the upper bound of the cost of streaming, since nothing is fetched while a GPU computes.
"""

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.tools import FOLDER, speedup, write
from components.shared.s3.client import Address
from components.shared.s3.streaming.cache import ShardCache
from components.shared.s3.streaming.published import publish
from model.data.batches import Batches
from model.data.format import PER_SHARD, Row
from model.data.shards import Shards
from model.data.writer import write_dataset
from tests.support.s3 import seaweedfs

_BATCH, _LANES, _WINDOW = 16, 2, 2


def main(
    count: Annotated[int, typer.Option("--shards", min=16, help="Number of shards of 1,024 photographs.")] = 24,
    size: Annotated[int, typer.Option(min=32, help="Side of a photograph in pixels.")] = 96,
    rounds: Annotated[int, typer.Option(min=1, help="Counted epochs of each way.")] = 5,
    result: Annotated[Path, typer.Option(help="File of figures to write.")] = FOLDER / "streaming.json",
) -> None:
    """Measures photographs a second and the bytes that the cache holds."""
    with tempfile.TemporaryDirectory() as scratch, seaweedfs(Path(scratch) / "server") as s3:
        os.environ |= s3.environment | {"AWS_ENDPOINT_URL_S3": s3.endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
        local, described = Path(scratch) / "local", Path(scratch) / "described"
        local.mkdir()
        make(local, count * PER_SHARD, size)
        shutil.copytree(local, described)
        address = publish(described, Address(s3.bucket, "datasets"))
        times: dict[str, list[float]] = {"local": [], "streamed": []}
        for turn in range(rounds + 1):
            cache = ShardCache(address, Path(scratch) / f"cache-{turn}", count * 3 * PER_SHARD * size**2 // 2)
            for way, opened in (
                ("local", Shards.open(local, "train")),
                ("streamed", Shards.open(described, "train", cache)),
            ):
                seconds = epoch(opened, size)
                if turn:  # the first round warms up
                    times[way].append(seconds)
            held = sum(path.stat().st_size for path in cache.folder.iterdir())
            shutil.rmtree(cache.folder)
    figures = {
        "streamed / local": speedup(times["local"], times["streamed"]),
        **{f"{way}: photographs a second": count * PER_SHARD / min(times[way]) for way in times},
    }
    write(result, figures, shards=count, size=size, cache_bytes=cache.limit, held_bytes=held, seconds=times)


def make(folder: Path, photographs: int, size: int) -> None:
    """Writes a dataset of noise, all of it for training."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, size, size), dtype=np.uint8)

    def lab_of(sha256: str) -> NDArray[np.uint8]:
        return pixels + np.uint8(int(sha256, 16) % 251)

    names = [f"{number:064x}" for number in range(photographs)]
    rows = [Row(f"{name}.png", name, size, size, "train", "kept", "") for name in names]
    write_dataset(folder, rows, lab_of, size=size, data_version="benchmark")


def epoch(opened: Shards, size: int) -> float:
    """Returns the seconds of one epoch."""
    batches = Batches(opened, _BATCH, size // 32 * 32, seed=0, lanes=_LANES, window=_WINDOW)
    started = time.perf_counter()
    for step in range(len(opened) // _BATCH):
        batches[step]
    return time.perf_counter() - started
