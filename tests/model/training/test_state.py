"""What training leaves on disk: whole, checked, and refused when it does not fit."""

import json
import logging
import random
from pathlib import Path

import pytest
import torch

from model.networks.generator import Generator
from model.training.state import (
    Checkpoint,
    checkpoints,
    load_generator,
    newest_checkpoint,
    save_checkpoint,
    save_generator,
)
from model.utils.errors import UserError
from tests.support.tiny import tiny_config

IDENTITY = {"config": {"seed": 1, "generator": {"channels": 8, "levels": 3}}, "data_version": "abc"}


def _generator(*overrides: str) -> Generator:
    torch.manual_seed(0)
    return Generator(tiny_config(*overrides).generator)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_generator(tmp_path, _generator(), crop=16, size=24, images=64)
    return tmp_path


def _checkpoint(images: int, value: float = 1.0) -> Checkpoint:
    tensors = {
        "generator.weight": torch.full((4, 3, 2, 2), value).to(memory_format=torch.channels_last),
        "adam.weight.step": torch.tensor(float(images)),
        "random.cpu": torch.get_rng_state(),
        "count.l1": torch.tensor(images),
    }
    return Checkpoint(images, tensors, IDENTITY, history_bytes=10 * images)


@pytest.mark.parametrize("overrides", [(), ("generator.norm=batch", "generator.noise=dropout"), ("generator.skip=no",)])
def test_a_generator_comes_back_as_it_was(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    generator = _generator(*overrides).to(memory_format=torch.channels_last)
    info = save_generator(tmp_path / "new" / "folder", generator, crop=16, size=24, images=64)
    loaded, same_info = load_generator(tmp_path / "new" / "folder")
    assert same_info == info
    assert (info.crop, info.size, info.images) == (16, 24, 64)
    assert loaded.config == generator.config
    assert not loaded.training
    assert loaded.state_dict().keys() == generator.state_dict().keys()
    for name, tensor in generator.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.half().float() if tensor.is_floating_point() else tensor)
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "generator.json",
        "generator.safetensors",
    ]


def test_the_same_generator_is_the_same_file(saved: Path, tmp_path: Path) -> None:
    save_generator(tmp_path / "again", _generator(), crop=16, size=24, images=64)
    for name in ("generator.json", "generator.safetensors"):
        assert (saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_generators_that_color_differently_are_told_apart(tmp_path: Path) -> None:
    plain, calibrated, flipped = _generator(), _generator(), _generator("generator.test_time_augmentation=true")
    calibrated.chroma_slope = 0.5
    infos = [save_generator(tmp_path, one, crop=16, size=24, images=64) for one in (plain, calibrated, flipped)]
    assert len({info.weights_sha256 for info in infos}) == 3


def test_damaged_weights_are_refused(saved: Path) -> None:
    path = saved / "generator.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"generator\.safetensors is damaged: its SHA-256"):
        load_generator(saved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 2}, "schema_version is 2; this version reads 1"),
        ({"schema_version": None}, "schema_version is None"),
        ({"crop": ...}, "crop is missing"),
        ({"generator": ...}, "generator is missing"),
        ({"generator": {"channels": 8}}, "is missing"),
        ({"generator": 5}, "generator.json"),
        ({"weights_sha256": "0" * 64}, "is damaged"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(saved: Path, change: dict[str, object], words: str) -> None:
    path = saved / "generator.json"
    description = json.loads(path.read_text()) | change
    path.write_text(json.dumps({key: value for key, value in description.items() if value is not ...}))
    with pytest.raises(UserError) as raised:
        load_generator(saved)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_weights_of_another_shape_are_refused(saved: Path) -> None:
    path = saved / "generator.json"
    description = json.loads(path.read_text())
    description["generator"]["channels"] = 16
    path.write_text(json.dumps(description))
    with pytest.raises(UserError, match=r"does not fit generator\.json"):
        load_generator(saved)


@pytest.mark.parametrize("content", ["", "[1, 2]", '"text"', "{", "\xff"])
def test_a_description_that_is_none_is_refused(saved: Path, content: str) -> None:
    (saved / "generator.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"generator\.json"):
        load_generator(saved)


@pytest.mark.parametrize("name", ["generator.json", "generator.safetensors"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(UserError, match=f"{name}: No such file.* holds no trained generator"):
        load_generator(saved)


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    written = _checkpoint(128)
    path = save_checkpoint(tmp_path / "new", written)
    assert path.parent == tmp_path / "new"
    read = newest_checkpoint(tmp_path / "new", IDENTITY)
    assert read is not None
    assert (read.images, read.identity, read.history_bytes) == (128, IDENTITY, 1280)
    assert read.tensors.keys() == written.tensors.keys()
    for name, tensor in written.tensors.items():
        assert read.tensors[name].dtype == tensor.dtype
        assert read.tensors[name].shape == tensor.shape
        assert torch.equal(read.tensors[name], tensor)


def test_the_last_two_are_kept(tmp_path: Path) -> None:
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


def test_no_folder_and_half_written_files_are_no_checkpoints(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "missing", IDENTITY) is None
    (tmp_path / ".checkpoint-000000000008.safetensors.partial").write_bytes(b"half")
    assert newest_checkpoint(tmp_path, IDENTITY) is None


def test_any_flipped_bit_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
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
def test_a_truncated_checkpoint_is_passed_by(tmp_path: Path, length: int) -> None:
    path = save_checkpoint(tmp_path, _checkpoint(8))
    path.write_bytes(path.read_bytes()[:length])
    assert newest_checkpoint(tmp_path, IDENTITY) is None


def test_another_training_is_refused_by_every_difference(tmp_path: Path) -> None:
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
