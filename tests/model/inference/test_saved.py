"""Tests of saved generators: complete, checked, and refused when they do not fit."""

import json
from pathlib import Path

import pytest
import torch

from model.inference.predict import predict_ab
from model.inference.saved import load_generator, save_generator
from model.networks.generator import Generator
from model.utils.errors import UserError
from tests.support.tiny import tiny_config


def _generator(*overrides: str) -> Generator:
    torch.manual_seed(0)
    return Generator(tiny_config(*overrides).generator)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_generator(tmp_path, _generator(), crop=16, size=24, images=64)
    return tmp_path


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("generator.norm=batch", "generator.noise=dropout"),
        ("generator.skip=no",),
        ("generator.output=classes", "generator.temperature=0.7"),
    ],
)
def test_a_saved_generator_loads_with_the_same_config_and_weights(tmp_path: Path, overrides: tuple[str, ...]) -> None:
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


def test_saving_the_same_generator_twice_writes_identical_files(saved: Path, tmp_path: Path) -> None:
    save_generator(tmp_path / "again", _generator(), crop=16, size=24, images=64)
    for name in ("generator.json", "generator.safetensors"):
        assert (saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_generators_that_color_differently_have_different_hashes(tmp_path: Path) -> None:
    plain, calibrated, flipped = _generator(), _generator(), _generator("generator.test_time_augmentation=true")
    calibrated.chroma_slope = 0.5
    infos = [save_generator(tmp_path, one, crop=16, size=24, images=64) for one in (plain, calibrated, flipped)]
    assert len({info.weights_sha256 for info in infos}) == 3


def test_a_saved_generator_keeps_its_temperature(tmp_path: Path) -> None:
    generator = _generator("generator.output=classes")
    generator.temperature = 0.6
    save_generator(tmp_path, generator, crop=16, size=24, images=64)
    assert load_generator(tmp_path)[0].temperature == 0.6


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
def test_a_wrong_value_in_generator_json_is_refused(saved: Path, change: dict[str, object], words: str) -> None:
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
def test_a_malformed_generator_json_is_refused(saved: Path, content: str) -> None:
    (saved / "generator.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"generator\.json"):
        load_generator(saved)


@pytest.mark.parametrize("name", ["generator.json", "generator.safetensors"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(UserError, match=f"{name}: No such file.* holds no trained generator"):
        load_generator(saved)


def test_a_generator_saved_by_version_0_1_loads_and_colors_the_same() -> None:
    """The fixture was written by the code before saved generators had a file of their own."""
    generator, info = load_generator(Path(__file__).parent / "saved_by_0_1")
    assert (info.crop, info.size, info.images) == (16, 24, 64)
    assert info.weights_sha256.startswith("d8b1361a")
    assert generator.chroma_slope == 0.5
    L, z = torch.linspace(-1, 1, 20).view(1, 1, 4, 5), torch.linspace(-2, 2, 8)[None]
    expected = [-1.385, -2.996, -3.766, -3.651, -3.516, -4.816, -4.855, -4.879, -4.849, -4.765]
    assert predict_ab(generator, L, z).flatten()[:10].tolist() == pytest.approx(expected, abs=2e-3)
