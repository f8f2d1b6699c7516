"""Tests of the benchmark of references."""

from pathlib import Path

import numpy as np

from benchmarks.like import errors_of_halves
from model.data.format import Row
from model.data.shards import Shards
from model.data.writer import write_dataset
from model.inference.saved import load_generator
from tests.model.inference.test_hints import hinted_folder


def test_each_kind_of_reference_has_its_error(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    pictures = {f"{number:064x}": draws.integers(256, size=(3, 32, 32), dtype=np.uint8) for number in range(3)}
    rows = [Row(name, name, 32, 32, "test", "kept", "") for name in pictures]
    write_dataset(tmp_path, rows, pictures.__getitem__, size=32, data_version="0" * 32)
    generator, _ = load_generator(hinted_folder(tmp_path / "generator"))
    errors = errors_of_halves(generator, Shards.open(tmp_path, "test"), 3)
    assert list(errors) == ["alone", "like the other half", "like another photograph"]
    assert all(0 < error < 110 for error in errors.values())
