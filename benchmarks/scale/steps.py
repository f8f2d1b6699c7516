"""Steps on n synthetic photographs: the input that each needs and the call that is measured."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.tools import ROOT
from components.evaluate.step import score
from components.inspect.step import inspect
from components.preprocess.merge import merge, split_of
from components.preprocess.partition import partition
from components.preprocess.prepare import prepare_part
from components.preprocess.prepared import PIXELS, ROWS, PartRow, Prepared
from components.register.step import register
from components.train.step import train
from model.data.format import Row
from model.data.writer import write_dataset
from model.inference.saved import save_generator
from model.networks.generator import Generator
from pipeline.config import Config, load_config

SIZE = 16
"""Side of a photograph in pixels; small, since the growth with rows is measured."""

_VERSION = "0" * 32
_TINY = (
    f"preprocess.size={SIZE}",
    f"train.crop={SIZE}",
    "train.images=64",
    "train.warmup_images=32",
    "train.batch_size=8",
    "train.generator.channels=8",
    "train.generator.levels=3",
    "train.discriminator.channels=8",
    "train.discriminator.receptive_field=16",
    "evaluate.photographs=100",
    "evaluate.samples=2",
)


def config() -> Config:
    """Loads a configuration with tiny networks, and an evaluation that reaches its bound of photographs."""
    return load_config(ROOT / "params.yaml", (), _TINY)


def rows(n: int) -> Iterator[Row]:
    """Yields a manifest's rows: each twentieth file is rejected, the others are in the splits of their hashes."""
    preprocess = config().preprocess
    for index in range(n):
        sha256 = hashlib.sha256(str(index).encode()).hexdigest()
        path = f"folder-{index // 1000:04}/photograph-{index:09}.jpg"
        if index % 20:
            yield Row(path, sha256, 3000, 2000, split_of(sha256, preprocess), "kept", "")
        else:
            yield Row(path, sha256, 90, 60, None, "rejected", "too small: 90 x 60, min_side is 128")


def pixels(sha256: str) -> NDArray[np.uint8]:
    """Returns (3, SIZE, SIZE) uint8 LAB made from a hash: one color, noise in L."""
    noise = np.frombuffer(bytes.fromhex(sha256) * (SIZE * SIZE // 32), dtype=np.uint8).reshape(SIZE, SIZE)
    a, b = (np.full_like(noise, 80 + byte % 96) for byte in bytes.fromhex(sha256)[:2])
    return np.stack((noise, a, b))


class Step(NamedTuple):
    """Holds the call that prepares a folder and the call in that folder that is measured."""

    prepare: Callable[[Path, int], None]
    run: Callable[[Path], object]


def _files(folder: Path, n: int) -> None:
    """Writes files that are no pictures, so that preprocessing reads, hashes and lists them only."""
    for index in range(n):
        path = folder / "photos" / f"{index // 1000:04}" / f"{index:09}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(str(index).encode())


def _partition(folder: Path) -> object:
    return partition(folder / "photos", folder / "listing", config().preprocess, data_version=_VERSION, partitions=1)


def _listed(folder: Path, n: int) -> None:
    _files(folder, n)
    _partition(folder)


def _prepare(folder: Path) -> object:
    return prepare_part(folder / "photos", folder / "listing", 0, folder / "part", config().preprocess)


def _part(folder: Path, n: int) -> None:
    """Writes what preprocess leaves of n photographs, with random hashes: few are near-duplicates."""
    (folder / "listing").mkdir()
    (folder / "part").mkdir()
    hashes = np.random.default_rng(0).integers(0, 2**63, (n, 2)).tolist()
    with (folder / "part" / ROWS).open("w") as lines, (folder / "part" / PIXELS).open("wb") as slots:
        for slot, (row, (as_is, mirrored)) in enumerate(zip(rows(n), hashes, strict=True)):
            prepared = Prepared(row.sha256, row.width, row.height, row.reason, as_is, mirrored)
            lines.write(json.dumps(asdict(PartRow(row.path, prepared, row.status, slot))) + "\n")
            slots.write(pixels(row.sha256).tobytes())


def _merge(folder: Path) -> object:
    parts = [folder / "part"]
    output = folder / "dataset"
    return merge(folder / "listing", parts, output, config().preprocess, photos="photos", data_version=_VERSION)


def _inspect(folder: Path) -> object:
    return inspect(folder / "dataset", None, folder / "inspection", config().inspect)


def _dataset(folder: Path, n: int) -> None:
    (folder / "dataset").mkdir(parents=True)
    write_dataset(folder / "dataset", list(rows(n)), pixels, size=SIZE, data_version=_VERSION)


def _trained(folder: Path, n: int) -> None:
    """Writes a dataset and a generator with the manifest beside it, as training does."""
    _dataset(folder, n)
    torch.manual_seed(0)
    save_generator(folder / "model", Generator(config().train.generator).eval(), crop=SIZE, size=SIZE, images=64)
    os.link(folder / "dataset" / "manifest.parquet", folder / "model" / "manifest.parquet")


def _scored(folder: Path, n: int) -> None:
    _trained(folder, n)
    _score(folder)


def _train(folder: Path) -> object:
    return train(folder / "dataset", folder / "trained", folder / "checkpoints", config().train)


def _score(folder: Path) -> object:
    return score(folder / "dataset", folder / "model", folder / "evaluation", config().evaluate)


def _register(folder: Path) -> object:
    tags = dict.fromkeys(("git_commit", "data_version", "recipe", "pipeline_run_id", "image_digest"), "benchmark")
    return register(folder / "model", folder / "evaluation", folder / "registration", config().register_, tags)


STEPS = {
    "partition": Step(_files, _partition),
    "preprocess, but for decoding": Step(_listed, _prepare),
    "merge": Step(_part, _merge),
    "inspect": Step(_dataset, _inspect),
    "train": Step(_dataset, _train),
    "evaluate": Step(_trained, _score),
    "register": Step(_scored, _register),
}
"""The measured steps by name."""
