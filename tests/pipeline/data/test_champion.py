"""Tests of the champion that DVC tracks: a fresh clone colors photographs without a training."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from components.shared.mlflow import registry
from model.color import srgb_to_lab
from model.data.images import decode
from pipeline import ROOT
from pipeline.data.versions import ensure_data

COLORIZE = Path(sys.executable).with_name("colorize")


def test_the_tracked_champion_is_small_and_has_a_model_card():
    ensure_data(ROOT, "champion")
    folder = ROOT / "champion"
    assert (folder / "generator.safetensors").stat().st_size < 40 << 20
    card = (folder / "evaluation" / "card.md").read_text(encoding="utf-8")
    for words in ("What it was made of", "commit", "`best`", "| ab_intersection |", "What it is for"):
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
