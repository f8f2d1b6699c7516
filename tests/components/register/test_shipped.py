"""The champion that travels: out of one registry into an empty one, the same to the byte, or not at all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from components.register.shipped import adopt, export
from components.register.step import TAGS
from components.shared.mlflow import registry
from model.utils.errors import UserError
from tests.support.retrained import aliases

Retrain = Callable[..., dict[str, Any]]


@pytest.fixture
def shipped(retrain: Retrain, workplace: Path) -> Path:
    """champion/ of a registry that is then forgotten."""
    retrain(0.5)
    export("models:/colorizer@champion", workplace / "champion")
    return workplace / "champion"


@pytest.fixture
def elsewhere(workplace: Path, migrated: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty registry."""
    folder = workplace / "elsewhere"
    (folder / "workspace").mkdir(parents=True)
    shutil.copy(migrated, folder / "workspace" / "mlflow.db")
    monkeypatch.chdir(folder)
    return folder


def test_it_arrives_as_it_was(shipped: Path, elsewhere: Path) -> None:
    described = json.loads((shipped / "version.json").read_text(encoding="utf-8"))["tags"]
    assert registry.find({}) is None
    version = adopt(shipped)
    assert version.number == 1
    assert aliases() == {"champion": 1}
    assert described.items() <= version.tags.items()
    assert set(TAGS) <= version.tags.keys()
    assert "without a champion" in version.tags["promotion_reason"]
    assert registry.checksum(registry.fetch("models:/colorizer@champion")) == registry.checksum(shipped)
    assert mlflow.pyfunc.load_model("models:/colorizer@champion")
    evaluation = Path(mlflow.artifacts.download_artifacts(f"runs:/{version.run_id}/evaluation"))
    arrived = {path.name: path.read_bytes() for path in evaluation.iterdir()}
    assert arrived == {path.name: path.read_bytes() for path in (shipped / "evaluation").iterdir()}
    assert {"metrics.json", "card.md", "samples.png"} <= arrived.keys()


def test_twice_is_once(shipped: Path, elsewhere: Path) -> None:
    assert adopt(shipped).number == adopt(shipped).number == 1


def test_damage_is_noticed(shipped: Path, elsewhere: Path) -> None:
    weights = shipped / "generator.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match="fetch it again"):
        adopt(shipped)
    (shipped / "version.json").unlink()
    with pytest.raises(UserError, match=r"version\.json is missing"):
        adopt(shipped)
    assert registry.find({}) is None


def test_a_stranger_s_folder_is_not_replaced(retrain: Retrain, workplace: Path) -> None:
    retrain(0.5)
    mine = workplace / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(UserError, match="choose another folder"):
        export("models:/colorizer@champion", mine)
