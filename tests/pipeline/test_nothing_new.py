"""Test of a run whose inputs a version already has: in kfp.local, it ends after resolve and report."""

import json
from pathlib import Path

import pytest
from kfp import local

from components.register.step import promote, register
from components.resolve.step import resolve
from components.shared.machine.workspace import VARIABLE
from components.shared.mlflow import registry
from components.shared.step import JOURNAL
from pipeline.arguments import arguments
from pipeline.graph import retraining
from pipeline.variants import Variants
from tests.support.retrained import RULES, TAGS, evaluated, trained


def test_a_run_of_known_inputs_ends_after_resolve_and_reports_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "workspace"))
    monkeypatch.setenv(JOURNAL, str(tmp_path / "journal.jsonl"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    given = arguments(Variants.load(), "s3://photographs", TAGS["data_version"], "s3://checkpoints", "none", True)
    codes = {name: given[f"{name}_code"] for name in ("preprocess", "train")}
    ingredients = (given["preprocess_config"], given["variants"], codes, given["tags"])
    found = resolve("s3://photographs", TAGS["data_version"], *ingredients)
    model = trained(tmp_path / "model")
    register(model, evaluated(model, 0.5), tmp_path / "registration", RULES, {**TAGS, **found.origins[0]})
    promote(tmp_path / "registration")
    monkeypatch.setenv("KFP_RUN_ID", "local-2")

    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "pipeline"), raise_on_error=True)
    retraining(**given)

    journal = (tmp_path / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    assert [(json.loads(line)["step"], json.loads(line)["outcome"]) for line in journal] == [
        ("resolve", "done"),
        ("report", "done"),
    ]
    said = capfd.readouterr().out
    assert f"Nothing is new: version 1 was made of data {TAGS['data_version']}" in said
    assert '"outcome": "nothing new"' in said
    assert registry.find_all({}) == [registry.champion()]
