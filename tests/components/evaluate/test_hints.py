"""Tests of the error of colorings that see some true colors."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from components.evaluate.accumulate import to_displayable
from components.evaluate.candidates import GeneratorCandidate
from components.evaluate.hints import l1_ab_with_hints
from model.color import decode_lab
from model.data.format import Row
from model.data.shards import Shards
from model.data.writer import write_dataset
from model.inference.saved import load_generator
from model.metrics.l1_ab import l1_ab
from model.training.loop import train
from tests.support.tiny import tiny_config


def test_without_points_the_error_is_that_of_evaluation(dataset: Path, models: dict[str, Path]) -> None:
    generator, test = load_generator(models["challenger"])[0], Shards.open(dataset, "test")
    stored = torch.from_numpy(test[:])
    colored = GeneratorCandidate(generator, test, 1, 0)(stored[:, :1], range(len(test)))[0]
    expected = l1_ab(to_displayable(stored[:, :1], colored)[:, 1:], decode_lab(stored)[:, 1:]).mean().item()
    found = l1_ab_with_hints(generator, test, (0, 5))
    assert found[0] == pytest.approx(expected, abs=1e-4)
    assert found[5] == found[0]  # this generator has no hints
    assert l1_ab_with_hints(generator, test, (0,), batch_size=2)[0] == pytest.approx(expected, abs=1e-4)


def test_one_point_colors_a_whole_picture_once_hints_are_learned(tmp_path: Path) -> None:
    """Each picture has one color, which nothing but a hint tells."""
    draws = np.random.default_rng(0)
    pictures = {}
    for _ in range(80):
        lab = np.empty((3, 32, 32), dtype=np.uint8)
        lab[0], lab[1:] = draws.integers(256, size=(32, 32)), 128 + draws.integers(-25, 26, size=(2, 1, 1))
        pictures[hashlib.sha256(lab.tobytes()).hexdigest()] = lab
    rows = [
        Row(name, name, 32, 32, "val" if place < 16 else "train", "kept", "") for place, name in enumerate(pictures)
    ]
    write_dataset(tmp_path, rows, pictures.__getitem__, size=32, data_version="0" * 32)
    shards = Shards.open(tmp_path, "train")
    options = ("generator.hints=true", "hints=0.8", "objective.adversarial=none", "learning_rate=0.003", "crop=32")
    length = (f"{key}=960" for key in ("images", "warmup_images", "checkpoint_every", "log_every", "sample_every"))
    config = tiny_config(*options, *length, size=32)
    generator = train(config, shards, tmp_path / "run", {}).generator
    found = l1_ab_with_hints(generator, shards.sibling("val"), (0, 1))
    assert found[1] < 0.8 * found[0]
