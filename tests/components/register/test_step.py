"""Tests of registration and of promoting or rejecting a version, in a real SQLite store."""

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.register.config import RegisterConfig, Rule
from components.register.step import promote, register
from components.shared.mlflow import connection, registry, runs, tree
from model.utils.errors import UserError
from pipeline.config import load_config
from tests.support.command import COLORIZE, environment
from tests.support.retrained import FIGURES, PROTOCOL, RULES, TAGS, aliases, evaluated, trained

ROOT = Path(__file__).resolve().parents[3]


def test_the_first_model_becomes_champion_with_tags_verdict_and_artifacts(
    workplace: Path, retrain: Callable[..., dict[str, Any]]
) -> None:
    record = retrain(0.5)
    assert aliases() == {"challenger": 1, "champion": 1}
    version = registry.get(1)
    assert TAGS.items() <= version.tags.items()
    assert json.loads(version.tags["metrics"]) == {"ab_intersection": 0.5, **FIGURES}
    assert PROTOCOL.items() <= json.loads(version.tags["metrics_protocol"]).items()
    assert version.tags["gate"] == "promote"
    assert version.tags["gate.ab_intersection"].startswith("holds: 0.5 is within the bound (at least 0.2)")
    assert version.tags["promotion_reason"].startswith("gate: All 1 rules hold: the first model")
    assert json.loads((workplace / "registration" / "registration.json").read_bytes()) == record
    assert record["weights_sha256"] == version.weights_sha256 == registry.checksum(workplace / "model-1")
    assert (record["version"], record["model_uri"], record["champion"]) == (1, "models:/colorizer/1", None)
    assert "no champion to compare with" in (workplace / "registration" / "verdict.md").read_text(encoding="utf-8")

    run_id = json.loads((workplace / "model-1" / "training.json").read_bytes())["mlflow_run_id"]
    assert version.run_id == record["run_id"] == run_id
    client = connection.connect()
    assert client.get_run(run_id).info.status == "FINISHED"
    logged = [Path(file.path).name for file in client.list_artifacts(run_id, "evaluation")]
    assert sorted(logged) == ["card.md", "metrics.json", "report.html", "rules.json", "samples.png"]
    card = Path(client.download_artifacts(run_id, "evaluation/card.md")).read_text(encoding="utf-8")
    for fact in (
        record["weights_sha256"],
        TAGS["git_commit"],
        TAGS["data_version"],
        "| ab_intersection | 0.5 |",
        "fid",
    ):
        assert fact in card


def test_a_better_model_becomes_champion_and_a_model_without_enough_gain_does_not(
    retrain: Callable[..., dict[str, Any]],
) -> None:
    retrain(0.5)
    assert retrain(0.51, 0.5)["champion"] == 1
    assert aliases() == {"challenger": 2, "champion": 2, "previous": 1}
    assert registry.get(2).tags["promoted_from"] == "1"

    record = retrain(0.512, 0.51)
    assert aliases() == {"challenger": 3, "champion": 2, "previous": 1}
    rejected = registry.get(3)
    assert (record["promote"], rejected.tags["gate"]) == (False, "reject")
    assert rejected.tags["gate.ab_intersection"].startswith("fails: 0.512 is better by 0.002 than the champion's 0.51")
    assert rejected.tags["rejection_reason"] == "gate: 1 of 1 rules failed: ab_intersection."
    assert "promoted_at" not in rejected.tags


def test_permitted_losses_do_not_add_up_from_promotion_to_promotion(workplace: Path) -> None:
    rules = RegisterConfig(rules={"ab_intersection": Rule(direction="up", change=-0.03, bound=0.2)})

    def retrain(number: int, score: float, champion: float | None) -> str:
        model = trained(workplace / f"model-{number}")
        record = register(model, evaluated(model, score, champion), workplace / "out", rules, TAGS)
        if record["promote"]:
            promote(workplace / "out")
        return str(record["outcome"])

    assert [retrain(1, 0.5, None), retrain(2, 0.475, 0.5), retrain(3, 0.45, 0.475)] == ["promote", "promote", "reject"]
    assert json.loads(registry.get(1).tags["behind"]) == {}
    assert json.loads(registry.get(2).tags["behind"]) == {"ab_intersection": -0.025}
    assert "the best champion so far" in registry.get(3).tags["gate.ab_intersection"]
    assert retrain(4, 0.51, 0.475) == "promote"
    assert json.loads(registry.get(4).tags["behind"]) == {}


def test_figures_of_photographs_for_validation_are_no_reason_to_promote(workplace: Path) -> None:
    model = trained(workplace / "model")
    evaluation = evaluated(model, 0.9)
    metrics = json.loads((evaluation / "metrics.json").read_text())
    metrics["protocol"]["split"] = "val"
    (evaluation / "metrics.json").write_text(json.dumps(metrics))
    record = register(model, evaluation, workplace / "out", RULES, TAGS)
    assert record["outcome"] == "reject"
    assert "evaluate.split=test" in record["summary"]


def test_a_rule_of_a_slice_is_kept_under_a_name_that_mlflow_takes(workplace: Path) -> None:
    model = trained(workplace / "model")
    rules = RegisterConfig(rules={"l1_ab[<b>|night]": Rule(direction="down", change=0.0, bound=20.0)})
    record = register(model, evaluated(model, 0.5), workplace / "out", rules, TAGS)
    assert record["outcome"] == "reject"
    assert "no slice of <b>|night" in registry.get(1).tags["gate.l1_ab/_b__night"]
    assert "<b>" not in (workplace / "out" / "verdict.md").read_text()


@pytest.mark.parametrize("score", [None, math.nan, 0.1])
def test_a_first_model_with_a_missing_or_bad_metric_is_rejected(
    retrain: Callable[..., dict[str, Any]], score: float | None
) -> None:
    assert retrain(score)["outcome"] == "reject"
    assert aliases() == {"challenger": 1}


def test_registering_again_gives_the_same_version(workplace: Path, retrain: Callable[..., dict[str, Any]]) -> None:
    retrain(0.5)
    retrain(0.4, 0.5)
    model = workplace / "model-2"
    assert registry.get(2).tags["rejection_reason"].startswith("gate: 1 of 1 rules failed")
    again = register(model, evaluated(model, 0.6, 0.5), workplace / "again", RULES, TAGS)
    assert (again["version"], again["promote"]) == (2, True)
    assert not {"rejected_at", "rejected_by", "rejection_reason"} & registry.get(2).tags.keys()
    assert registry.get(2).tags["gate"] == "promote"
    assert json.loads(registry.get(2).tags["metrics"])["ab_intersection"] == 0.6
    with pytest.raises(UserError, match="no version 3"):
        registry.get(3)
    other = RegisterConfig(rules={"l1_ab": Rule(direction="down", change=0.0, bound=20.0)})
    register(model, workplace / "evaluation", workplace / "again", other, TAGS)
    reasons = {name for name in registry.get(2).tags if name.startswith("gate.")}
    assert reasons == {"gate.summary", "gate.l1_ab"}  # reasons of former rules are gone


def test_another_data_version_makes_another_model_version(
    workplace: Path, retrain: Callable[..., dict[str, Any]]
) -> None:
    retrain(0.5)
    other = register(
        workplace / "model-1", workplace / "evaluation", workplace / "other", RULES, TAGS | {"data_version": "d2"}
    )
    assert other["version"] == 2
    assert (other["outcome"], other["promote"]) == ("unchanged", False)


def test_registering_the_champion_again_keeps_it_and_its_reasons(
    workplace: Path, retrain: Callable[..., dict[str, Any]]
) -> None:
    retrain(0.5)
    before = registry.get(1)
    model = workplace / "model-1"
    again = register(model, evaluated(model, 0.5, 0.5), workplace / "again", RULES, TAGS)
    assert (again["outcome"], again["promote"], again["version"]) == ("unchanged", False, 1)
    assert "champion's already (version 1)" in again["summary"]
    renewed = {"metrics", "metrics_protocol", "metrics_champion", "judged", "judged_beside"}
    after = registry.get(1)
    assert {n: v for n, v in after.tags.items() if n not in renewed} == {
        n: v for n, v in before.tags.items() if n not in renewed
    }
    assert aliases() == {"challenger": 1, "champion": 1}


def test_a_champion_without_scores_stays(retrain: Callable[..., dict[str, Any]]) -> None:
    retrain(0.5)
    record = retrain(0.9)
    assert record["outcome"] == "reject"
    assert "champion (version 1) was not scored" in record["summary"]
    assert aliases() == {"challenger": 2, "champion": 1}


def test_scores_against_a_former_champion_are_rejected(workplace: Path, retrain: Callable[..., dict[str, Any]]) -> None:
    retrain(0.5)
    slow = trained(workplace / "slow")
    late = evaluated(slow, 0.9, 0.5).rename(workplace / "late")
    retrain(0.6, 0.5)
    record = register(slow, late, workplace / "out", RULES, TAGS)
    assert record["outcome"] == "reject"
    assert "champion (version 2) was not scored" in record["summary"]
    assert "colorize submit --evaluate" in record["summary"]

    again = register(slow, evaluated(slow, 0.9, 0.6), workplace / "again", RULES, TAGS)
    assert (again["version"], again["outcome"]) == (record["version"], "promote"), "evaluated beside today's champion"


def test_scores_of_another_model_are_refused(workplace: Path) -> None:
    evaluation = evaluated(trained(workplace / "one"), 0.5)
    with pytest.raises(UserError, match=r"metrics\.json is of another model"):
        register(trained(workplace / "other"), evaluation, workplace / "out", RULES, TAGS)
    assert registry.by_alias("challenger") is None


def test_a_verdict_against_a_former_champion_is_refused(
    workplace: Path, retrain: Callable[..., dict[str, Any]]
) -> None:
    retrain(0.5)
    stale, slow = workplace / "stale", trained(workplace / "slow")
    register(slow, evaluated(slow, 0.6, 0.5), stale, RULES, TAGS)
    retrain(0.7, 0.5)
    with pytest.raises(UserError, match=r"champion is version 3, but version 2 was compared with 1; .*--evaluate 2`"):
        promote(stale)
    assert aliases()["champion"] == 3


def test_a_rejected_version_is_not_promoted(workplace: Path, retrain: Callable[..., dict[str, Any]]) -> None:
    retrain(0.1)
    with pytest.raises(UserError, match="not to be promoted"):
        promote(workplace / "registration")
    assert registry.champion() is None


def _crash(monkeypatch: pytest.MonkeyPatch, at: str, model: Path, evaluation: Path, output: Path) -> None:
    """Registers a model, and crashes in a call of MLflow's client."""

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as crashing:
        crashing.setattr(f"mlflow.MlflowClient.{at}", crash)
        with pytest.raises(KeyboardInterrupt):
            register(model, evaluation, output, RULES, TAGS)


@pytest.mark.parametrize("at", ["log_model_artifacts", "create_model_version", "set_registered_model_alias"])
def test_a_crash_leaves_no_alias_on_a_partial_version_and_can_be_repeated(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    model = trained(workplace / "model")
    evaluation = evaluated(model, 0.5)
    _crash(monkeypatch, at, model, evaluation, workplace / "out")
    assert aliases() == {}
    assert not (workplace / "out").exists()
    record = register(model, evaluation, workplace / "out", RULES, TAGS)
    assert record["version"] == 1
    assert aliases() == {"challenger": 1}
    assert registry.checksum(registry.fetch("models:/colorizer@challenger")) == record["weights_sha256"]


@pytest.mark.parametrize("at", ["log_artifact", "log_text", "set_model_version_tag"])
def test_a_rejection_that_a_crash_cut_off_is_completed_by_the_next_registration(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    model = trained(workplace / "model")
    evaluation = evaluated(model, 0.1)
    _crash(monkeypatch, at, model, evaluation, workplace / "out")
    assert "rejected_at" not in registry.get(1).tags
    monkeypatch.setenv("KFP_RUN_ID", TAGS["pipeline_run_id"])
    record = register(model, evaluation, workplace / "out", RULES, TAGS)
    assert (record["version"], record["outcome"]) == (1, "reject")
    assert registry.get(1).tags["rejection_reason"] == f"gate: {record['summary']}"
    assert aliases() == {"challenger": 1}
    client = connection.connect()
    parent = tree.find(client, runs.experiment_id(client))
    assert parent
    assert tree.conclusion(parent) == ("rejected", record["summary"])
    judged = client.list_artifacts(registry.get(1).tags["judged_with"], "evaluation")
    assert {"card.md", "metrics.json"} <= {Path(file.path).name for file in judged}


def test_damaged_or_missing_input_is_refused(workplace: Path) -> None:
    model = trained(workplace / "model")
    evaluation = evaluated(model, 0.5)
    with pytest.raises(UserError, match="recipe missing"):
        register(model, evaluation, workplace / "out", RULES, {n: v for n, v in TAGS.items() if n != "recipe"})
    (evaluation / "metrics.json").unlink()
    with pytest.raises(UserError, match=r"metrics\.json: No such file"):
        register(model, evaluation, workplace / "out", RULES, TAGS)
    with (model / "generator.safetensors").open("ab") as file:
        file.write(b"!")
    with pytest.raises(UserError, match=r"generator\.safetensors is missing or damaged"):
        register(model, evaluation, workplace / "out", RULES, TAGS)
    assert registry.by_alias("challenger") is None


def test_the_command_registers_judges_and_promotes(workplace: Path) -> None:
    model = trained(workplace / "model")
    evaluation = evaluated(model, 0.5)
    inspection = workplace / "inspection"
    inspection.mkdir()
    (inspection / "drift.json").write_text('{"alarm": ""}', encoding="utf-8")
    for name in ("distributions.json", "data.html"):
        (inspection / name).write_text("{}", encoding="utf-8")
    command = [*COLORIZE, "step", "register", "--model", str(model), "--evaluation", str(evaluation)]
    command += ["--inspection", str(inspection), "--out", "registration"]
    done = subprocess.run(command, cwd=workplace, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    first, *reasons = done.stdout.splitlines()
    assert first == "version 1: promote. All 3 rules hold: the first model, within all bounds."
    rules = load_config(ROOT / "params.yaml").register_.rules
    assert [line.split()[:2] for line in reasons] == [["holds", f"{metric}:"] for metric in rules]
    assert registry.get(1).tags["data_version"] == TAGS["data_version"]
    assert len(registry.get(1).tags["git_commit"].removesuffix("-dirty")) in (7, 40)
    assert aliases() == {"challenger": 1, "champion": 1}
    (evaluation / "metrics.json").unlink()
    failed = subprocess.run(command, cwd=workplace, env=environment(), capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1
