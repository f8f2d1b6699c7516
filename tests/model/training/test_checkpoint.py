"""Tests of checkpoints: complete, checked, and refused when they do not fit."""

import logging
import random
from pathlib import Path

import pytest
import torch

from model.training import checkpoint
from model.training.checkpoint import Checkpoint, checkpoints, newest_checkpoint, save_checkpoint
from model.utils.errors import UserError

IDENTITY = {"config": {"seed": 1, "generator": {"channels": 8, "levels": 3}}, "data_version": "abc"}


def _checkpoint(images: int, value: float = 1.0) -> Checkpoint:
    tensors = {
        "generator.weight": torch.full((4, 3, 2, 2), value).to(memory_format=torch.channels_last),
        "adam.weight.step": torch.tensor(float(images)),
        "random.cpu": torch.get_rng_state(),
        "count.l1": torch.tensor(images),
    }
    history = [{"images": images, "phase": "full", "reconstruction": 0.1 + 0.2}]
    return Checkpoint(images, IDENTITY, tensors, history, {"samples/1.png": b"\x89PNG\n", "empty": b""})


def test_a_checkpoint_is_read_back_unchanged(tmp_path: Path) -> None:
    written = _checkpoint(128)
    path = save_checkpoint(tmp_path / "new", written)
    assert path.parent == tmp_path / "new"
    read = newest_checkpoint(tmp_path / "new", IDENTITY)
    assert read is not None
    assert (read.images, read.identity, read.history, read.files) == (128, IDENTITY, written.history, written.files)
    assert read.tensors.keys() == written.tensors.keys()
    for name, tensor in written.tensors.items():
        assert read.tensors[name].dtype == tensor.dtype
        assert read.tensors[name].shape == tensor.shape
        assert torch.equal(read.tensors[name], tensor)


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    for images in (8, 16, 64, 1_000_000, 20_000_000_000):
        save_checkpoint(tmp_path, _checkpoint(images))
    assert [path.name for path in checkpoints(tmp_path)] == [
        "checkpoint-020000000000.safetensors",
        "checkpoint-000001000000.safetensors",
    ]
    newest = newest_checkpoint(tmp_path, IDENTITY)
    assert newest is not None
    assert newest.images == 20_000_000_000
    assert len(list(tmp_path.iterdir())) == 2


def test_a_missing_folder_and_a_partial_file_count_as_no_checkpoint(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "missing", IDENTITY) is None
    (tmp_path / ".checkpoint-000000000008.safetensors.partial").write_bytes(b"half")
    assert newest_checkpoint(tmp_path, IDENTITY) is None


def test_a_flipped_bit_is_detected_and_the_older_checkpoint_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_checkpoint(tmp_path, _checkpoint(8))
    path = save_checkpoint(tmp_path, _checkpoint(16))
    content = path.read_bytes()
    draw = random.Random(0)
    places = [*range(12), *(draw.randrange(len(content)) for _ in range(200)), len(content) - 1]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            used = newest_checkpoint(tmp_path, IDENTITY)
        assert used is not None, f"byte {place}"
        assert used.images == 8, f"byte {place}"
        assert path.name in caplog.text
    path.write_bytes(content)
    assert newest_checkpoint(tmp_path, IDENTITY).images == 16


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_a_truncated_checkpoint_is_ignored(tmp_path: Path, length: int) -> None:
    path = save_checkpoint(tmp_path, _checkpoint(8))
    path.write_bytes(path.read_bytes()[:length])
    assert newest_checkpoint(tmp_path, IDENTITY) is None


def test_a_checkpoint_of_another_schema_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr(checkpoint, "SCHEMA_VERSION", 1)
        path = save_checkpoint(tmp_path, _checkpoint(8))
    with pytest.raises(UserError) as raised:
        newest_checkpoint(tmp_path, IDENTITY)
    for words in (str(path), "schema_version 1", "reads 2", "delete it to begin the training anew"):
        assert words in str(raised.value)


def test_a_checkpoint_of_another_training_is_refused_with_every_difference(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, _checkpoint(8))
    other = {"config": {"seed": 2, "generator": {"channels": 8, "levels": 4}}, "code_version": "f00"}
    with pytest.raises(UserError) as raised:
        newest_checkpoint(tmp_path, other)
    message = str(raised.value)
    for words in (
        "checkpoint-000000000008.safetensors",
        "config.seed: 1 -> 2",
        "config.generator.levels: 3 -> 4",
        "data_version: abc -> None",
        "code_version: None -> f00",
    ):
        assert words in message
    assert "channels" not in message
