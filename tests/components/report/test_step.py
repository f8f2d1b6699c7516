"""Tests of the report step: its message for each outcome.

The states that it is given are those that Kubeflow gave, or may give, in such a run.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.register.step import register
from components.report.step import report
from components.resolve.component import resolve as resolve_component
from components.shared.mlflow import connection, registry, runs, tree
from components.shared.step import step
from model.utils.errors import UserError
from tests.support.retrained import FIGURES, RULES, TAGS, evaluated, trained
from tests.support.webhook import receiver

RUN = TAGS["pipeline_run_id"]


@pytest.fixture
def in_run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_RUN_ID", RUN)
    monkeypatch.setenv("COLORIZE_KFP_UI", "https://kubeflow.example/pipeline/")
    monkeypatch.setenv("COLORIZE_MLFLOW_UI", "https://mlflow.example")


@pytest.mark.usefixtures("in_run")
def test_the_report_of_a_promotion_has_metrics_reasons_and_links(
    retrain: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    retrain(0.5)
    registry.set_tags(1, {"judged_in": "an earlier run"})
    retrain(0.6, 0.5)
    with receiver(200) as hook:
        monkeypatch.setenv("COLORIZE_WEBHOOK_URL", hook.url)
        told = report("COMPLETE", "", "demo", "latest")
    assert hook.messages == [told]
    printed = capsys.readouterr().out.splitlines()
    assert json.loads(printed[-2]) == told
    assert printed[-1] == "webhook: delivered"
    assert (told["outcome"], told["failed_step"], told["version"]) == ("promoted", None, 2)
    assert (told["recipe"], told["data_version"], told["pipeline_run"]) == ("demo", TAGS["data_version"], RUN)
    assert told["verdict"]["outcome"] == "promote"
    assert told["verdict"]["reasons"]["ab_intersection"].startswith(
        "holds: 0.6 is better by 0.1 than the champion's 0.5"
    )
    assert told["metrics"] == {
        "ab_intersection": {"version": 0.6, "champion": 0.5},
        "l1_ab": {"version": 8.0, "champion": 8.1},
        "colorfulness_error": {"version": 10.0, "champion": None},
        "kid_efflite0": {"version": 0.005, "champion": None},
    }
    assert told["links"]["run"] == f"https://kubeflow.example/pipeline/#/runs/details/{RUN}"
    assert told["links"]["version"] == "https://mlflow.example/#/models/colorizer/versions/2"
    client = connection.connect()
    parent = client.get_run(told["links"]["mlflow"].rpartition("/")[2])
    assert (parent.info.status, parent.data.tags["recipe"]) == ("FINISHED", "demo")
    assert parent.data.tags["reported"] == "promoted"
    first, second, *lines = told["text"].splitlines()
    assert first == "Retraining of colorizer (demo): succeeded; version 2 is promoted"
    assert second == "All 1 rules hold: none finds it worse than the champion."
    assert any(line.startswith("ab_intersection holds: 0.6") for line in lines)
    assert lines[-1].startswith("https://")


@pytest.mark.usefixtures("in_run")
def test_the_report_of_a_rejection_has_reasons_and_the_version(
    retrain: Callable[..., dict[str, Any]], workplace: Path
) -> None:
    retrain(0.1)
    told = report("SUCCEEDED", "", "demo", "abc.dir")
    assert told["verdict"]["outcome"] == "reject"
    assert told["verdict"]["reasons"]["ab_intersection"].startswith("fails: ")
    assert told["metrics"]["l1_ab"] == {"version": 8.0, "champion": None}
    assert "version 1 is rejected" in told["text"]


@pytest.mark.usefixtures("in_run")
def test_the_report_omits_a_nan_metric(retrain: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    retrain(math.nan)
    with receiver(200) as hook:
        monkeypatch.setenv("COLORIZE_WEBHOOK_URL", hook.url)
        report("SUCCEEDED", "", "demo", "abc.dir")
    (told,) = hook.messages
    assert told["verdict"]["outcome"] == "reject"
    assert told["metrics"].keys() == FIGURES.keys()


@pytest.mark.usefixtures("in_run")
@pytest.mark.parametrize("state", ["RUNNING", "FAILED"])
def test_a_verdict_is_reported_whatever_state_kubeflow_gives(
    retrain: Callable[..., dict[str, Any]], state: str
) -> None:
    with pytest.raises(SystemExit), step("preprocess"):  # a first attempt; the second one logs nothing
        raise UserError("S3 cannot be reached")
    retrain(0.1)
    told = report(state, "", "demo", "abc.dir")
    assert (told["outcome"], told["failed_step"]) == ("rejected", None)
    assert told["text"].splitlines()[0] == "Retraining of colorizer (demo): succeeded; version 1 is rejected"


@pytest.mark.usefixtures("in_run")
def test_the_champions_own_weights_are_reported_as_unchanged(
    retrain: Callable[..., dict[str, Any]], workplace: Path
) -> None:
    retrain(0.5)
    model = workplace / "model-1"
    register(model, evaluated(model, 0.5), workplace / "registration", RULES, TAGS)
    told = report("RUNNING", "", "demo", "abc.dir")
    assert (told["outcome"], told["version"]) == ("unchanged", 1)
    assert told["text"].splitlines()[:2] == [
        "Retraining of colorizer (demo): succeeded; version 1 is the champion already",
        "These weights are the champion's already (version 1).",
    ]


@pytest.mark.usefixtures("in_run")
def test_a_run_that_finds_nothing_new_is_reported_as_that(
    retrain: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retrain(0.1)
    tags = TAGS | {"judged_by": "a" * 64}
    registry.set_tags(1, {"judged_by": tags["judged_by"]})
    monkeypatch.setenv("KFP_RUN_ID", "the next run")
    outputs = [str(tmp_path / name) for name in ("version", "champion", "settled", "origins")]
    inputs = "s3://photographs", TAGS["data_version"], True, {}, [{"name": "demo", "train": {"init": "", "steps": 1}}]
    assert not resolve_component.python_func(*inputs, *[""] * 5, tags, *outputs)
    with receiver(200) as hook:
        monkeypatch.setenv("COLORIZE_WEBHOOK_URL", hook.url)
        report("RUNNING", "", "demo", "latest")  # seen with Kubeflow Pipelines 2.17.0, at every such run
    (told,) = hook.messages
    assert (told["outcome"], told["version"], told["verdict"]) == ("nothing new", None, None)
    assert told["text"].splitlines()[:2] == [
        "Retraining of colorizer (demo): nothing new",
        f"Nothing is new: version 1 was made of data {TAGS['data_version']} with this code and recipe, and judged by "
        "these rules beside this champion. `colorize submit --again` runs all the same.",
    ]


@pytest.mark.usefixtures("in_run")
def test_the_report_of_a_failure_has_the_step_and_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit), step("preprocess"):
        raise UserError("data/ has 3 usable photographs, <min_photographs> wants more & more")
    with receiver(200) as hook:
        monkeypatch.setenv("COLORIZE_WEBHOOK_URL", hook.url)
        report("RUNNING", "", "demo", "abc.dir")
    (told,) = hook.messages
    assert (told["outcome"], told["failed_step"], told["version"], told["verdict"]) == (
        "failed",
        "preprocess",
        None,
        None,
    )
    assert told["message"] == "data/ has 3 usable photographs, <min_photographs> wants more & more"
    assert "failed in preprocess\ndata/ has 3 usable photographs, &lt;min_photographs&gt;" in told["text"]


@pytest.mark.usefixtures("in_run")
def test_of_a_failed_variant_the_message_is_reported() -> None:
    with runs.start_run("train small"):
        pass
    with pytest.raises(SystemExit), step("train large"):
        raise UserError("the loss is not finite")
    told = report("FAILED", "", "small,large", "abc.dir")
    assert (told["outcome"], told["failed_step"], told["message"]) == (
        "failed",
        "train large",
        "the loss is not finite",
    )


@pytest.mark.usefixtures("in_run")
def test_a_killed_step_is_reported_though_an_earlier_step_failed_once() -> None:
    client = connection.connect()
    with pytest.raises(SystemExit), step("preprocess"):
        raise UserError("S3 cannot be reached")
    experiment = runs.experiment_id(client)
    parent = tree.ensure_parent_run(client, experiment)
    left_open = client.create_run(experiment, tags={"mlflow.parentRunId": parent}, run_name="train demo").info.run_id
    told = report("FAILED", "", "demo", "abc.dir")
    assert (told["outcome"], told["failed_step"]) == ("failed", "train demo")
    assert told["message"].startswith("the process ended without an error message")
    assert client.get_run(left_open).info.status == "FAILED"


@pytest.mark.usefixtures("in_run")
def test_a_verdict_that_was_not_carried_out_is_no_promotion(workplace: Path) -> None:
    model = trained(workplace / "model")
    register(model, evaluated(model, 0.5), workplace / "registration", RULES, TAGS)
    with pytest.raises(SystemExit), step("promote"):
        raise UserError("the files are damaged")
    told = report("FAILED", "", "demo", "abc.dir")
    assert (told["outcome"], told["failed_step"], told["version"]) == ("failed", "promote", 1)
    assert told["text"].splitlines()[:3] == [
        "Retraining of colorizer (demo): failed in promote",
        "the files are damaged",
        "The gate had judged version 1: All 1 rules hold: the first model, within all bounds.",
    ]


@pytest.mark.usefixtures("in_run")
def test_a_run_without_any_trace_has_failed() -> None:
    told = report("RUNNING", "", "demo", "abc.dir")
    assert (told["outcome"], told["failed_step"]) == ("failed", None)
    assert told["message"].startswith("no step left a reason")


@pytest.mark.usefixtures("in_run")
def test_the_outcome_is_found_in_the_tree_of_kubeflows_plugin(
    retrain: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connection.connect()
    experiment = client.create_experiment("team")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "team")
    plugins = {"kfp.pipeline_run_id": RUN, "kfp.pipeline_run_url": f"/#/runs/details/{RUN}"}
    parent = client.create_run(experiment, tags=plugins, run_name="retraining-1").info.run_id
    retrain(0.5)
    told = report("RUNNING", "", "demo", "abc.dir")
    assert told["outcome"] == "promoted"
    assert client.get_run(parent).data.tags["reported"] == "promoted"
    assert client.get_run(parent).info.status == "RUNNING"  # the plugin ends its own


@pytest.mark.parametrize(
    ("state", "message", "outcome", "said"),
    [
        ("FAILED", "node lost", "failed", "node lost"),
        ("RUNNING", "", "unknown", "Kubeflow says RUNNING; only MLflow knows what came of the run."),
        ("COMPLETE", "", "unknown", "Kubeflow says COMPLETE; only MLflow knows what came of the run."),
    ],
)
def test_the_outcome_is_reported_without_mlflow(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, state: str, message: str, outcome: str, said: str
) -> None:
    monkeypatch.setenv("KFP_RUN_ID", RUN)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with receiver(200) as hook:
        monkeypatch.setenv("COLORIZE_WEBHOOK_URL", hook.url)
        report(state, message, "demo", "abc.dir")
    (told,) = hook.messages
    assert (told["outcome"], told["message"], told["version"]) == (outcome, said, None)
