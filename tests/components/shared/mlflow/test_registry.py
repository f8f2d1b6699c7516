"""Tests of the registry in a real SQLite store: looking up versions, and fetching and checking their files."""

import hashlib
import json
from pathlib import Path

import pytest

from components.shared.mlflow import connection, registry, runs
from model.inference.saved import load_generator, save_generator
from model.networks.generator import Generator
from model.utils.errors import UserError
from tests.support.tiny import tiny_config

TINY = tiny_config().generator


def _register(folder: Path) -> registry.Version:
    """Registers a new version with a new tiny generator, in the layout of `log_model`."""
    weights = save_generator(folder / "generator", Generator(TINY), crop=16, size=16, images=1).weights_sha256
    client = connection.connect()
    with runs.start_run("train") as run:
        experiment = client.get_run(run.id).info.experiment_id
        logged = client.create_logged_model(experiment, name="colorizer", source_run_id=run.id)
        client.log_model_artifacts(logged.model_id, str(folder / "generator"), registry.GENERATOR)
        client.finalize_logged_model(logged.model_id, "READY")
        return registry.create(logged.model_id, run.id, {"weights_sha256": weights, "data_version": "d1"})


@pytest.fixture
def version(workplace: Path) -> registry.Version:
    return _register(workplace / "made")


def _stored(folder: Path, name: str) -> Path:
    (path,) = folder.glob(f"workspace/mlartifacts/**/{name}")
    return path


def test_versions_are_found_by_number_alias_and_tags(workplace: Path, version: registry.Version) -> None:
    registry.set_alias("challenger", version.number)
    assert version.number == 1
    assert (
        registry.get(1)
        == registry.by_alias("challenger")
        == registry.resolve("models:/colorizer@challenger")
        == version
    )
    assert registry.find({"weights_sha256": version.weights_sha256, "data_version": "d1"}) == version
    assert registry.find({"weights_sha256": version.weights_sha256, "data_version": "d2"}) is None
    assert registry.aliases(1) == ["challenger"]
    assert registry.champion() is None
    second = _register(workplace / "second")
    assert second.number == 2
    assert registry.find({"data_version": "d1"}) == version


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (
            "models:/colorizer@champion",
            r"There is no champion yet at sqlite:.*; `make run` trains one, and `colorize models import`",
        ),
        ("models:/colorizer/7", "no version 7"),
        ("models:/other/1", "models:/colorizer@champion"),
        ("models:/colorizer/latest", "models:/colorizer@champion"),
        ("nowhere", "nowhere is no generator folder"),
    ],
)
def test_a_missing_version_alias_or_folder_is_named(workplace: Path, uri: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        registry.fetch(uri)


def test_a_generator_folder_is_returned_as_it_is(workplace: Path) -> None:
    save_generator(workplace / "mine", Generator(TINY), crop=16, size=16, images=1)
    assert registry.fetch("mine") == Path("mine")


def test_files_are_fetched_once_and_can_be_loaded(workplace: Path, version: registry.Version) -> None:
    registry.set_alias("champion", 1)
    folder = registry.fetch("models:/colorizer@champion")
    assert folder == workplace / "workspace" / "cache" / "models" / version.weights_sha256
    _, info = load_generator(folder)
    assert info.weights_sha256 == version.weights_sha256
    assert sorted(path.name for path in folder.iterdir()) == ["generator.json", "generator.safetensors"]
    _stored(workplace, "generator.safetensors").unlink()  # the copy is enough
    assert registry.fetch("models:/colorizer/1") == folder
    assert [path.name for path in folder.parent.iterdir()] == [version.weights_sha256]  # no partial files are left


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["generator.safetensors", "generator.json"])
def test_a_damaged_copy_is_fetched_again(workplace: Path, version: registry.Version, name: str) -> None:
    folder = registry.fetch("models:/colorizer/1")
    (folder / name).write_bytes(b"half of it")
    registry.fetch("models:/colorizer/1")
    assert load_generator(folder)[1].weights_sha256 == version.weights_sha256


def test_damaged_weights_are_refused_even_with_a_forged_checksum(workplace: Path, version: registry.Version) -> None:
    weights, description = _stored(workplace, "generator.safetensors"), _stored(workplace, "generator.json")
    _flip(weights)
    with pytest.raises(UserError, match=r"models:/colorizer/1: .*damaged"):
        registry.fetch("models:/colorizer/1")
    forged = json.loads(description.read_bytes()) | {"weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    description.write_text(json.dumps(forged), encoding="utf-8")
    with pytest.raises(UserError, match="damaged"):
        registry.fetch("models:/colorizer/1")
    assert not list(Path("workspace/cache/models").iterdir())


def test_missing_files_of_a_version_are_named(workplace: Path, version: registry.Version) -> None:
    for name in ("generator.safetensors", "generator.json"):
        _stored(workplace, name).unlink()
    with pytest.raises(UserError, match=r"models:/colorizer/1.*(missing|damaged)"):
        registry.fetch("models:/colorizer/1")
