"""Tests of the report step beside Kubeflow's API: canceled runs, steps without a trace, and runs that told nobody."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.report.kubeflow import API
from components.report.step import report
from components.shared.mlflow import connection, runs, tree
from components.shared.step import step
from model.utils.errors import Interrupted, UserError
from tests.support.kfp_server import Fault, KfpServer, kfp_server

RUN = "run-2"


@pytest.fixture
def kfp(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KfpServer]:
    """Yields Kubeflow's API with this run at its end, and an earlier one that failed."""
    with kfp_server() as server:
        monkeypatch.setenv(API, server.url)
        monkeypatch.setenv("KFP_RUN_ID", RUN)
        monkeypatch.setenv("COLORIZE_KFP_UI", "https://kubeflow.example")
        for number, state in ((1, "FAILED"), (2, "RUNNING")):
            server.runs[f"run-{number}"] = {
                "run_id": f"run-{number}",
                "display_name": f"nightly {number}",
                "experiment_id": "experiment",
                "pipeline_version_reference": {"pipeline_id": "retraining"},
                "created_at": f"2026-11-2{number}T03:00:00Z",
                "state": state,
            }
        server.story = [{}]
        yield server


def tasks(**failed: str) -> dict[str, Any]:
    """Returns what Kubeflow tells of a run's nodes, by name and time of their beginning."""
    groups = {"root": "03:00:01Z", "retraining": "03:00:10Z", "something-new": "03:01:00Z"}
    nodes = [{"display_name": name, "start_time": at, "state": "FAILED"} for name, at in (groups | failed).items()]
    done = {"display_name": "resolve", "start_time": "03:00:30Z", "state": "SUCCEEDED"}
    return {"run_details": {"task_details": [*nodes, done]}}


def mark(run: str, outcome: str) -> None:
    """Does in MLflow what the exit task of a run does."""
    client = connection.connect()
    parent = tree.ensure_parent_run(client, runs.experiment_id(client), run)
    client.set_tag(parent, tree.REPORTED, outcome)


@pytest.mark.parametrize("state", ["CANCELING", "CANCELED"])
def test_a_run_that_people_canceled_is_reported_as_canceled(kfp: KfpServer, state: str) -> None:
    with pytest.raises(SystemExit), step("train demo"):
        raise Interrupted("it was told to stop")
    kfp.story = [{"state": state}]
    told = report("RUNNING", "", "demo", "abc.dir")
    assert (told["outcome"], told["failed_step"]) == ("canceled", "train demo")
    assert told["text"].splitlines()[:2] == [
        "Retraining of colorizer (demo): canceled in train demo",
        "Somebody canceled the run.",
    ]


def test_a_step_whose_pod_never_started_is_named(kfp: KfpServer) -> None:
    with pytest.raises(SystemExit), step("preprocess"):  # whose next attempt succeeded
        raise UserError("S3 cannot be reached")
    kfp.story = [
        tasks(train="03:10:00Z", executor="03:10:01Z", **{"train(0)": "03:10:00Z", "executor(0)": "03:10:01Z"})
    ]
    told = report("FAILED", "", "demo", "abc.dir")
    assert (told["outcome"], told["failed_step"]) == ("failed", "train")
    assert told["message"].startswith("no step left a reason")


def test_a_driver_that_failed_is_named_by_its_step(kfp: KfpServer) -> None:
    kfp.story = [tasks(**{"partition-driver": "03:01:00Z", "resolve(0)": "03:02:00Z"})]
    assert report("RUNNING", "", "demo", "abc.dir")["failed_step"] == "partition"


def test_of_the_step_that_kubeflow_names_the_reason_is_in_mlflow(kfp: KfpServer) -> None:
    for name in ("train small", "inspect"):  # Kubeflow's time counts, not the order in MLflow
        with pytest.raises(SystemExit), step(name):
            raise UserError(f"{name} has failed")
    kfp.story = [tasks(train="03:10:00Z")]
    told = report("FAILED", "", "small,large", "abc.dir")
    assert (told["failed_step"], told["message"]) == ("train small", "train small has failed")


def test_the_next_run_tells_once_of_a_run_that_told_nobody(kfp: KfpServer) -> None:
    told = report("RUNNING", "", "demo", "abc.dir")
    link = "https://kubeflow.example/#/runs/details/run-1"
    assert told["earlier"] == [{"pipeline_run": "run-1", "name": "nightly 1", "outcome": "failed", "link": link}]
    assert f"An earlier run, nightly 1, told nobody how it ended: failed. {link}" in told["text"]
    assert report("RUNNING", "", "demo", "abc.dir")["earlier"] == []


@pytest.mark.parametrize(
    "changed",
    [{"state": "RUNNING"}, {"pipeline_version_reference": {"pipeline_id": "another"}}, {"created_at": "2026-11-23"}],
)
def test_runs_of_another_kind_are_left_alone(kfp: KfpServer, changed: dict[str, Any]) -> None:
    kfp.runs["run-1"] |= changed
    assert report("RUNNING", "", "demo", "abc.dir")["earlier"] == []


def test_a_run_that_reported_is_told_of_again_only_if_it_succeeded_afterwards(
    kfp: KfpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark("run-1", "failed")
    assert report("RUNNING", "", "demo", "abc.dir")["earlier"] == []
    monkeypatch.setenv("KFP_RUN_ID", "run-1")
    runs.conclude("rejected", "1 of 1 rules failed: l1_ab.")  # by the steps of `colorize retry`
    monkeypatch.setenv("KFP_RUN_ID", RUN)
    kfp.runs["run-1"]["state"] = "SUCCEEDED"
    (earlier,) = report("RUNNING", "", "demo", "abc.dir")["earlier"]
    assert (earlier["pipeline_run"], earlier["outcome"]) == ("run-1", "rejected")
    assert report("RUNNING", "", "demo", "abc.dir")["earlier"] == []


@pytest.mark.parametrize(
    "fault", [Fault(".*", status=401), Fault(".*", drop="before"), Fault(".*", page=True)], ids=str
)
def test_mlflow_alone_tells_the_outcome_where_the_api_does_not_answer(
    kfp: KfpServer, retrain: Callable[..., dict[str, Any]], fault: Fault, capsys: pytest.CaptureFixture[str]
) -> None:
    kfp.faults = [fault]
    retrain(0.1)
    told = report("RUNNING", "", "demo", "abc.dir")
    assert (told["outcome"], told["earlier"]) == ("rejected", [])
    assert "Kubeflow's API says nothing of this run" in capsys.readouterr().out


def test_kubeflow_is_asked_where_mlflow_cannot_be_reached(kfp: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    kfp.story = [tasks(train="03:10:00Z")]
    told = report("RUNNING", "", "demo", "abc.dir")
    assert (told["outcome"], told["failed_step"]) == ("failed", "train")
    kfp.story = [{"state": "CANCELING"}]
    assert report("FAILED", "", "demo", "abc.dir")["outcome"] == "canceled"
    kfp.story = [{"state": "RUNNING", "run_details": None}]  # the last attempt of each step has succeeded
    assert report("FAILED", "", "demo", "abc.dir")["outcome"] == "unknown"
