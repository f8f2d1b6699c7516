"""Tests of the champion that DVC tracks: a fresh clone colors photographs without a training."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.register.shipped import export
from components.shared.mlflow import connection, promotion, registry
from model.color import srgb_to_lab
from model.data.images import decode
from pipeline import ROOT
from pipeline.data import champion
from pipeline.data.champion import ensure_champion
from pipeline.data.versions import ensure_data
from tests.components.shared.mlflow.test_registry_faults import FAULTS, KillError, at_call, is_sound
from tests.support.retrained import aliases

COLORIZE = Path(sys.executable).with_name("colorize")


def test_the_tracked_champion_is_small_and_has_a_model_card():
    ensure_data(ROOT, "champion")
    folder = ROOT / "champion"
    assert (folder / "generator.safetensors").stat().st_size < 40 << 20
    card = (folder / "evaluation" / "card.md").read_text(encoding="utf-8")
    for words in ("What it was made of", "commit", "`catalog`", "| ab_intersection |", "What it is for"):
        assert words in card
    checksum = registry.checksum(folder)
    assert checksum
    assert checksum in card


@pytest.mark.slow
def test_photo_colors_in_a_fresh_workspace_and_imports_the_champion_once(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
):
    picture = sorted((photos / "endless-sky-data").glob("*.jpg"))[3]
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLORIZE_WORKSPACE", str(tmp_path / "workspace"))
    outputs = []
    for out in ("first", "second"):
        command = [COLORIZE, "photo", picture, "--out", tmp_path / out]
        outputs.append(subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stderr)
    assert "as version 1" in outputs[0]
    assert "version" not in outputs[1]
    (colored,) = (tmp_path / "first").glob("*.jpg")
    lab = [srgb_to_lab(torch.tensor(decode(path).rgb).permute(2, 0, 1)) for path in (picture, colored)]
    assert (lab[0][0] - lab[1][0]).abs().mean() < 2  # a JPEG's rounding
    assert np.hypot(*lab[1][1:].numpy()).mean() > 4


@pytest.fixture
def empty(
    retrain: Callable[..., dict[str, Any]], workplace: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """Returns a function that empties the registry; the champion of the repository is a tiny one."""
    retrain(0.5)
    export("models:/colorizer@champion", workplace / "champion")
    monkeypatch.setattr(champion, "located", lambda root, name: workplace / name)

    folders = count()

    def clear() -> None:  # MLflow holds on to the file of a folder that it has seen
        elsewhere = workplace / f"elsewhere-{next(folders)}"
        (elsewhere / "workspace").mkdir(parents=True)
        shutil.copy(migrated, elsewhere / "workspace")
        monkeypatch.chdir(elsewhere)

    clear()
    return clear


def is_whole(folder: Path) -> None:
    """Fails unless the champion is the only version, with all files of its evaluation."""
    is_sound()
    assert (len(registry.find_all({})), aliases()) == (1, {"champion": 1})
    kept = connection.connect().list_artifacts(registry.get(1).run_id, "evaluation")
    assert {Path(file.path).name for file in kept} == {file.name for file in (folder / "evaluation").iterdir()}


def test_an_import_that_was_killed_before_the_promotion_is_completed_and_says_so(
    empty: Callable[[], None], workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    def killed(*_: object) -> None:
        raise KillError

    with monkeypatch.context() as patch:
        patch.setattr(promotion, "promote", killed)
        with pytest.raises(KillError):
            ensure_champion()
    assert (len(registry.find_all({})), aliases()) == (1, {})
    ensure_champion()
    is_whole(workplace / "champion")
    assert "An import was cut off: the repository's champion is in service now, as version 1." in capfd.readouterr().err
    ensure_champion()
    assert capfd.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", ["killed before a call", "killed after a call"])
def test_an_import_that_was_killed_at_any_call_is_completed(empty: Callable[[], None], workplace: Path, fault: str):
    calls = 0
    while True:
        calls += 1
        empty()
        with at_call(calls, *FAULTS[fault]) as made, suppress(KillError):
            ensure_champion()
        ensure_champion()
        is_whole(workplace / "champion")
        if len(made) < calls:
            break
    assert calls > 10


def test_a_registry_without_a_champion_keeps_its_versions_and_is_described(
    retrain: Callable[..., dict[str, Any]], capfd: pytest.CaptureFixture[str]
):
    retrain(0.5)
    retrain(0.6, 0.5)
    connection.connect().delete_registered_model_alias(registry.MODEL, "champion")
    capfd.readouterr()
    ensure_champion()
    assert "/mlflow.db has versions (1, 2), and none is the champion; `colorize promote V`" in capfd.readouterr().err
    assert registry.champion() is None
