"""Steps on the sample photographs, some of them or all, at the size and with the networks of the champion."""

import os
from pathlib import Path

from benchmarks.scale.steps import Step
from benchmarks.tools import ROOT
from components.evaluate.step import score
from components.preprocess.step import preprocess
from components.train.step import train
from pipeline.config import Config, load_config

SIZES = (125, 209, 628)
"""Numbers of photographs: a fifth, a third, all."""

_IMAGES = 320  # training length, which alone decides its cost


def config() -> Config:
    """Loads the champion's recipe with a short training."""
    overrides = (f"train.images={_IMAGES}", "train.warmup_images=160", f"train.sample_every={_IMAGES}")
    return load_config(ROOT / "params.yaml", (ROOT / "recipes" / "best.yaml",), overrides)


def _photographs(folder: Path, n: int) -> None:
    found = sorted(path for path in (ROOT / "data").rglob("*") if path.suffix not in (".txt", ".md", ".csv"))
    for path in (found[index * len(found) // n] for index in range(n)):
        (folder / "photos" / path.parent.name).mkdir(parents=True, exist_ok=True)
        os.link(path, folder / "photos" / path.parent.name / path.name)


def _preprocess(folder: Path) -> object:
    return preprocess(folder / "photos", folder / "dataset", config().preprocess, data_version="0" * 32)


def _preprocessed(folder: Path, n: int) -> None:
    _photographs(folder, n)
    _preprocess(folder)


def _train(folder: Path) -> object:
    return train(folder / "dataset", folder / "model", folder / "checkpoints", config().train)


def _evaluate(folder: Path) -> object:
    return score(folder / "dataset", ROOT / "champion", folder / "evaluation", config().evaluate)


REAL = {
    "preprocess": Step(_photographs, _preprocess),
    "train": Step(_preprocessed, _train),
    "evaluate": Step(_preprocessed, _evaluate),
}
