"""A dataset and a configuration small enough that a training takes a second."""

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from model.color import encode_lab
from model.config import TrainConfig
from model.data.format import Row
from model.data.writer import write_dataset
from pipeline.config import load_config

ROOT = Path(__file__).resolve().parents[2]

_TINY = (
    "preprocess.size=24",
    "train.images=64",
    "train.warmup_images=32",
    "train.batch_size=8",
    "train.crop=16",
    "train.ema_half_life=16",
    "train.checkpoint_every=16",
    "train.sample_every=32",
    "train.log_every=16",
    "train.generator.channels=8",
    "train.generator.levels=3",
    "train.discriminator.channels=8",
    "train.discriminator.receptive_field=16",
)


def tiny_config(*overrides: str, size: int = 24) -> TrainConfig:
    """Returns params.yaml made tiny, for photographs of `size`; overrides such as "images=32" are below `train`."""
    ours = (f"preprocess.size={size}", *(f"train.{override}" for override in overrides))
    return load_config(ROOT / "params.yaml", (), (*_TINY, *ours)).train


def tiny_overrides() -> list[str]:
    """Returns the tiny settings as options of a command line."""
    return [part for override in _TINY for part in ("--set", override)]


def tiny_dataset(
    folder: Path,
    train: int = 20,
    val: int = 3,
    test: int = 0,
    size: int = 24,
    labels: Sequence[str | None] = (None,),
    sources: Sequence[str] = ("",),
) -> Path:
    """Writes a dataset of smooth pictures, whose a and b can be learned: they follow from L and the position.

    Labels and sources, the photographs' folders, are assigned in turn, independent of the colors.
    """
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    labs, rows = {}, []
    for index in range(train + val + test):
        wave = np.sin(rng.uniform(2, 6) * x + rng.uniform(2, 6) * y + rng.uniform(0, 6))
        L = 50 + 35 * wave
        lab = np.stack((L, 40 * (L - 50) / 35 + 10, 30 * y * wave - 15))
        stored = encode_lab(torch.from_numpy(lab)).numpy()
        name = hashlib.sha256(stored.tobytes()).hexdigest()
        labs[name] = stored
        split = "train" if index < train else "val" if index < train + val else "test"
        path = str(PurePosixPath(sources[index % len(sources)]) / f"{index}.png")
        rows.append(Row(path, name, size, size, split, "kept", "", labels[index % len(labels)]))
    folder.mkdir(parents=True, exist_ok=True)
    write_dataset(folder, rows, labs.__getitem__, size=size, data_version="0123456789abcdef0123456789abcdef")
    return folder
