"""Tests of exporting the champion from one registry and importing it into an empty one."""

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
    """Returns the folder of an exported champion."""
    retrain(0.5)
    export("models:/colorizer@champion", workplace / "champion")
    return workplace / "champion"


@pytest.fixture
def elsewhere(workplace: Path, migrated: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a folder with an empty registry, as the current folder."""
    folder = workplace / "elsewhere"
    (folder / "workspace").mkdir(parents=True)
    shutil.copy(migrated, folder / "workspace" / "mlflow.db")
    monkeypatch.chdir(folder)
    return folder


def test_an_imported_champion_has_the_same_tags_weights_and_evaluation(shipped: Path, elsewhere: Path) -> None:
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


def test_importing_twice_makes_one_version(shipped: Path, elsewhere: Path) -> None:
    assert adopt(shipped).number == adopt(shipped).number == 1


def test_a_damaged_or_incomplete_export_is_refused(shipped: Path, elsewhere: Path) -> None:
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


def test_an_export_does_not_replace_a_folder_with_other_files(retrain: Retrain, workplace: Path) -> None:
    retrain(0.5)
    mine = workplace / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(UserError, match="choose another folder"):
        export("models:/colorizer@champion", mine)
