"""Tests of the distributions of a dataset: counts, serialization, memory and damaged input."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from components.inspect import distributions
from components.inspect.distributions import Distributions, measure
from model.color import encode_lab
from model.data.format import Row
from model.data.writer import write_dataset
from model.utils.errors import UserError
from tests.support.tiny import tiny_dataset

SIZE = 16
GREEN, RED, BLUE = (-30.0, 1.0), (40.0, 5.0), (3.0, -50.0)


def flat(L: float, ab: tuple[float, float]) -> np.ndarray:
    color = torch.tensor((L, *ab)).view(3, 1, 1).expand(3, SIZE, SIZE)
    return encode_lab(color.clone()).numpy()


def made(folder: Path) -> Path:
    """Writes two green pictures, a red and a half-black blue one, with two rejected files and one ignored."""
    labs = {"a": flat(15, GREEN), "b": flat(55, GREEN), "c": flat(55, RED), "d": flat(60, BLUE)}
    labs["d"][0, : SIZE // 2] = 0
    rows = [
        Row("a.jpeg", "a", 3000, 2000, "train", "kept", "", "dusk"),
        Row("b.JPG", "b", 2000, 3000, "train", "kept", ""),
        Row("c.tiff", "c", 400, 300, "val", "kept", "", "dawn"),
        Row("d.png", "d", 400, 400, "test", "kept", "", "dusk"),
        Row("e.jpg", "e", 40, 40, None, "rejected", "too small: 40 x 40, min_side is 128"),
        Row("f.jpg", "f", None, None, None, "rejected", "unreadable: damaged"),
        Row("README", "g", None, None, None, "ignored", "no photograph by its suffix"),
    ]
    folder.mkdir()
    write_dataset(folder, rows, labs.__getitem__, size=SIZE, data_version="0123456789abcdef")
    return folder


def filled(counts: distributions.Counts) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def test_every_photograph_is_counted_once_in_the_right_bin(tmp_path: Path) -> None:
    found = measure(made(tmp_path / "dataset"))
    assert found.files == {"train": 2, "val": 1, "test": 1, "rejected": 2, "ignored": 1}
    assert {name: filled(counts) for name, counts in found.counts.items()} == {
        "megapixels": {"0.1 to 0.25": 2, "4 to 8": 2},
        "short_side": {"256 to 384": 1, "384 to 512": 1, "1536 to 2048": 2},
        "aspect_ratio": {"0.6 to 0.7": 1, "0.97 to 1.03": 1, "1.2 to 1.4": 1, "1.4 to 1.6": 1},
        "lightness": {"10 to 20": 1, "30 to 40": 1, "50 to 60": 2},
        "contrast": {"below 5": 3, "30 to 35": 1},
        "chroma": {"30 to 40": 2, "40 to 50": 1, "50 and more": 1},
        "hue": {"below 30": 1, "150 to 180": 2, "270 to 300": 1},
        "file_type": {"jpg": 2, "png": 1, "tif": 1},
        "label": {"": 1, "dawn": 1, "dusk": 2},
        "fate": {"kept": 4, "too small": 1, "unreadable": 1},
    }


def test_distributions_survive_a_round_trip_through_json(tmp_path: Path) -> None:
    found = measure(made(tmp_path / "dataset"))
    assert Distributions.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_dataset_without_labels_has_no_label_distribution(tmp_path: Path) -> None:
    assert "label" not in measure(tiny_dataset(tmp_path / "dataset")).counts


def test_the_chunk_size_does_not_change_the_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tiny_dataset(tmp_path / "dataset", train=40)
    whole = measure(dataset)
    monkeypatch.setattr(distributions, "_PIXELS", 3 * 24**2)
    assert measure(dataset) == whole


def test_memory_does_not_grow_with_the_number_of_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributions, "_PIXELS", 100 * 24**2)
    peaks = []
    for count in (2000, 8000):
        dataset = tiny_dataset(tmp_path / str(count), train=count)
        tracemalloc.start()
        measure(dataset)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path / "dataset")
    (dataset / "manifest.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"manifest\.parquet cannot be read .*; run preprocess again"):
        measure(dataset)
