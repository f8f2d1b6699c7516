"""Tests of the dataset folder: photographs are read as written, and a damaged file is named."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from model.data import writer
from model.data.format import Row, verify
from model.data.shards import Shards
from model.data.writer import write_dataset
from model.utils.errors import UserError

SIZE = 4


def lab_of(sha256: str) -> np.ndarray:
    return np.random.default_rng(int(sha256, 16)).integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8)


def kept(number: int, split: str, label: str | None = None) -> Row:
    return Row(f"{number}.jpg", f"{number:064x}", 10, 10, split, "kept", "", label)  # type: ignore[arg-type]


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(writer, "PER_SHARD", 4)
    rows = [kept(n, "train") for n in (9, 2, 7, 4, 5, 6)] + [kept(1, "test"), kept(3, "val")]
    rows.append(Row("bad.jpg", "f" * 64, None, None, None, "rejected", "unreadable"))
    write_dataset(tmp_path, rows, lab_of, size=SIZE, data_version="abc.dir")
    return tmp_path


def test_photographs_are_read_back_in_order_of_their_hash(dataset: Path):
    train = Shards.open(dataset, "train")
    assert (len(train), train.size, train.data_version) == (6, SIZE, "abc.dir")
    assert train.sha256s == [f"{n:064x}" for n in (2, 4, 5, 6, 7, 9)]
    assert train.paths == ["2.jpg", "4.jpg", "5.jpg", "6.jpg", "7.jpg", "9.jpg"]
    assert np.array_equal(train[[5, 0, 4]], np.stack([lab_of(f"{n:064x}") for n in (9, 2, 7)]))
    assert np.array_equal(train[1:3], np.stack([lab_of(f"{n:064x}") for n in (4, 5)]))
    with pytest.raises(IndexError):
        train[[6]]


def test_pickled_shards_hold_no_pixels(dataset: Path):
    train = Shards.open(dataset, "train")
    expected = train[:]
    packed = pickle.dumps(train)
    assert len(packed) < 4000
    assert np.array_equal(pickle.loads(packed)[:], expected)  # noqa: S301 - our own bytes of a line above


def test_the_order_of_rows_does_not_change_the_shards(dataset: Path, tmp_path: Path):
    rows = [kept(n, "train") for n in (5, 6, 4, 2, 9, 7)] + [kept(3, "val"), kept(1, "test")]
    other = tmp_path / "other"
    other.mkdir()
    write_dataset(other, rows, lab_of, size=SIZE, data_version="abc.dir")
    for path in dataset.glob("*.npy"):
        assert (other / path.name).read_bytes() == path.read_bytes()


def test_verify_finds_a_flipped_bit_and_names_the_file(dataset: Path):
    verify(dataset)
    victim = dataset / "train-00001.npy"
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(content)
    with pytest.raises(UserError, match=r"train-00001\.npy is damaged"):
        verify(dataset)


@pytest.mark.parametrize("damage", ["missing", "truncated", "pickled"])
def test_a_broken_shard_is_named(dataset: Path, damage: str):
    victim = dataset / "train-00000.npy"
    if damage == "missing":
        victim.unlink()
    elif damage == "truncated":
        victim.write_bytes(victim.read_bytes()[:-1])
    else:
        np.save(victim, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"train-00000\.npy"):
        Shards.open(dataset, "train")


def test_a_missing_dataset_and_another_schema_version_are_refused(tmp_path: Path, dataset: Path):
    with pytest.raises(UserError, match="run preprocess first"):
        Shards.open(tmp_path / "nowhere", "train")
    description = dataset / "dataset.json"
    description.write_text(description.read_text().replace('"schema_version": 2', '"schema_version": 1'))
    with pytest.raises(UserError, match="schema_version is 1, this program reads 2; run preprocess again"):
        Shards.open(dataset, "train")


def test_labels_are_read_as_names_and_as_indices(tmp_path: Path):
    rows = [kept(2, "train", "night"), kept(5, "train"), kept(4, "train", "day"), kept(1, "test", "night")]
    write_dataset(tmp_path, rows, lab_of, size=SIZE, data_version="abc.dir")
    train = Shards.open(tmp_path, "train")
    assert train.labels == ["night", "day", None]
    assert train.label_indices(("day", "night")).tolist() == [1, 0, -1]
    assert train.label_indices(("night",)).tolist() == [0, -1, -1]
    assert train.label_indices(()).tolist() == [-1, -1, -1]
    assert json.loads((tmp_path / "dataset.json").read_text())["labels"] == {"day": 1, "night": 2}


def test_a_duplicate_photograph_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="kept twice"):
        write_dataset(tmp_path, [kept(1, "train"), kept(1, "test")], lab_of, size=SIZE, data_version="")
