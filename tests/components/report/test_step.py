"""Tests of the report step: its message for each outcome, and its webhook on a real and faulty server."""

import json
import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from components.report.component import report as report_component
from components.report.step import report
from components.report.webhook import deliver
from components.shared.mlflow import connection, registry
from components.shared.step import step
from model.utils.errors import UserError
from tests.support.retrained import TAGS
from tests.support.webhook import TOKEN, receiver

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
    assert (told["outcome"], told["failed_step"], told["version"]) == ("SUCCEEDED", None, 2)
    assert (told["recipe"], told["data_version"], told["pipeline_run"]) == ("demo", TAGS["data_version"], RUN)
    assert told["verdict"]["outcome"] == "promote"
    assert told["verdict"]["reasons"]["ab_intersection"].startswith(
        "holds: 0.6 is better by 0.1 than the champion's 0.5"
    )
    assert told["metrics"] == {
        "ab_intersection": {"version": 0.6, "champion": 0.5},
        "l1_ab": {"version": 8.0, "champion": 8.1},
    }
    assert told["links"]["run"] == f"https://kubeflow.example/pipeline/#/runs/details/{RUN}"
    assert told["links"]["version"] == "https://mlflow.example/#/models/colorizer/versions/2"
    client = connection.connect()
    parent = client.get_run(told["links"]["mlflow"].rpartition("/")[2])
    assert (parent.info.status, parent.data.tags["recipe"]) == ("FINISHED", "demo")
    first, *lines = told["text"].splitlines()
    assert first == "Retraining of colorizer (demo): succeeded; version 2 is promoted"
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
    assert told["metrics"].keys() == {"l1_ab"}


@pytest.mark.usefixtures("in_run")
def test_the_report_of_a_run_without_new_inputs_states_that(retrain: Callable[..., dict[str, Any]]) -> None:
    retrain(0.5)
    registry.set_tags(1, {"judged_in": "an earlier run"})
    told = report("SUCCEEDED", "", "demo", "latest")
    assert (told["outcome"], told["version"], told["data_version"]) == ("SUCCEEDED", None, "latest")
    assert told["text"].splitlines()[1].startswith("Nothing is new: ")


@pytest.mark.usefixtures("in_run")
def test_the_report_of_a_failure_has_the_step_and_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit), step("preprocess"):
        raise UserError("data/ has 3 usable photographs, <min_photographs> wants more & more")
    with receiver(200) as hook:
        monkeypatch.setenv("COLORIZE_WEBHOOK_URL", hook.url)
        report("FAILED", "task failed", "demo", "abc.dir")
    (told,) = hook.messages
    assert (told["outcome"], told["failed_step"], told["version"], told["verdict"]) == (
        "FAILED",
        "preprocess",
        None,
        None,
    )
    assert told["message"] == "data/ has 3 usable photographs, <min_photographs> wants more & more"
    assert "failed in preprocess\ndata/ has 3 usable photographs, &lt;min_photographs&gt;" in told["text"]


@pytest.mark.usefixtures("in_run")
@pytest.mark.parametrize(("state", "outcome"), [("RUNNING", "SUCCEEDED"), ("CANCELED", "CANCELED")])
def test_kubeflow_states_map_to_outcomes(retrain: Callable[..., dict[str, Any]], state: str, outcome: str) -> None:
    retrain(0.5)
    told = report(state, "", "demo", "abc.dir")
    assert told["outcome"] == outcome


def test_the_outcome_is_reported_without_mlflow(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_RUN_ID", RUN)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with receiver(200) as hook:
        monkeypatch.setenv("COLORIZE_WEBHOOK_URL", hook.url)
        report("FAILED", "node lost", "demo", "abc.dir")
    (told,) = hook.messages
    assert (told["outcome"], told["message"], told["version"]) == ("FAILED", "node lost", None)


@pytest.mark.parametrize(
    ("plan", "requests", "trouble"),
    [
        ((200,), 1, ""),
        ((500, "drop", 200), 3, ""),
        ((429, 204), 2, ""),
        ((500,), 3, "status 500"),
        (("drop",), 3, "ProtocolError"),
        (("hang",), 3, "ReadTimeoutError"),
        ((404,), 1, "status 404"),
        (("redirect",), 1, "status 307"),
        (("drip",), 1, "no end after 1.5 s"),
    ],
    ids=str,
)
def test_a_faulty_webhook_server_does_not_fail_the_run_or_reveal_the_address(
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    plan: tuple[str | int, ...],
    requests: int,
    trouble: str,
) -> None:
    hasty = partial(deliver, timeout=0.3, backoff=0.01, limit=1.5)
    monkeypatch.setattr("components.report.step.deliver", hasty)
    caplog.set_level(logging.DEBUG)
    with receiver(*plan) as hook:
        monkeypatch.setenv("COLORIZE_WEBHOOK_URL", hook.url)

        class Status:
            state, error_message = "SUCCEEDED", None

        report_component.python_func(Status, "demo", "abc.dir")
        assert hook.paths == [f"/hooks/{TOKEN}"] * requests  # and never /elsewhere
    output = capfd.readouterr()
    assert output.out.splitlines()[-1] == (f"webhook: not delivered: {trouble}" if trouble else "webhook: delivered")
    assert TOKEN not in output.out + output.err + caplog.text


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://hooks.example.com/T00", False),
        ("http://10.0.0.1/T00", False),
        ("http://svc.example.com/T00", False),
        ("ftp://localhost/T00", False),
        ("https:///T00", False),
        ("not an address", False),
        ("http://[::1", False),
        ("http://localhost:9/T00", True),
        ("http://[::1]:9/T00", True),
        ("https://127.0.0.1:9/T00", True),
        ("http://hooks:9/T00", True),
        ("http://hooks.team.svc:9/T00", True),
        ("http://hooks.team.svc.cluster.local:9/T00", True),
    ],
)
def test_plain_http_is_allowed_only_inside_the_cluster(url: str, allowed: bool) -> None:
    trouble = deliver(url, {}, timeout=0.1, backoff=0, limit=0.5)  # no server listens at these addresses
    assert trouble
    assert ("must be https" in trouble) != allowed
    assert "T00" not in trouble
