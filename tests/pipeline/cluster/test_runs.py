"""Tests of `colorize follow`, `cancel` and `retry` against a Kubeflow Pipelines server."""

import os
import shutil
import signal
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.machine.pipeline_run import RUN_ID
from components.shared.mlflow import runs as mlflow_runs
from pipeline.cluster import runs
from tests.support import argo
from tests.support.argo import Step, workflow
from tests.support.kfp_server import Fault, KfpServer
from tests.support.kubeconfig import configure_kubectl

Colorize = Callable[..., object]


@pytest.fixture
def submitted(kfp: KfpServer) -> str:
    """Returns the id of a run that is there already."""
    identity = str(uuid.uuid4())
    parameters = {"recipe": "demo", "data_version": "latest"}
    kfp.keep_run(
        identity,
        parameters,
        display_name="demo 2026-11-25 03:00:00",
        created_at="2026-11-25T03:00:00Z",
        runtime_config={"parameters": parameters, "pipeline_root": "s3://artifacts/mine"},
    )
    return identity


def failing(*steps: Step, **options: object) -> list[dict]:
    """Returns the story of a run that has failed."""
    return [{"state": "FAILED", "workflow": workflow(*steps, **options)}]


def follow_by_name(kfp: KfpServer, colorize: Colorize, run: str) -> object:
    """Follows a run by its name, which is looked up in the list of runs: these tests' faults leave the list alone."""
    kfp.runs[run]["display_name"] = "nightly"
    return colorize("follow", "nightly")


def test_follow_prints_each_change_of_a_steps_state(kfp: KfpServer, colorize: Colorize):
    resolved = Step("resolve", cached=True)
    parts = [Step("preprocess", minute=1), Step("preprocess", "Running", number=1, minute=1)]
    waiting = Step("train", "Pending", minute=4, message="Unschedulable: 0/3 nodes are available: 3 Insufficient gpu.")
    kfp.story = [
        {"state": "PENDING"},
        {"state": "RUNNING", "workflow": workflow(resolved, *parts)},
        {"state": "RUNNING", "workflow": workflow(resolved, parts[0], Step("preprocess", number=1, minute=1), waiting)},
        {"state": "RUNNING", "workflow": workflow(resolved, Step("train", "Running", minute=4))},
        {"state": "SUCCEEDED", "workflow": workflow(resolved, Step("train", attempts=2, minute=4), Step("report"))},
    ]
    done = colorize("submit", "--follow")
    assert done.status == 0, done.err
    assert done.err.splitlines() == [
        "resolve: succeeded, from the cache",
        "preprocess: running",
        "preprocess: succeeded, 125 s",
        "train: pending, Unschedulable: 0/3 nodes are available: 3 Insufficient gpu.",
        "train: running",
        "train: succeeded, 125 s",
        "report: succeeded, 125 s",
    ]
    assert done.out.splitlines()[1].startswith("The run succeeded: http")


def test_follow_prints_the_steps_of_several_variants_whose_nodes_argo_has_compressed(
    kfp: KfpServer, colorize: Colorize
):
    steps = [
        Step("resolve"), Step("train"), Step("train", number=1), Step("evaluate"), Step("evaluate", number=1),
        Step("choose"), Step("register"), Step("promote"), Step("report"),
    ]  # fmt: skip
    kfp.story = [{"state": "SUCCEEDED", "workflow": workflow(*steps, compressed=True)}]
    done = colorize("submit", "--variants", "train.seed=1,train.seed=2", "--follow")
    assert done.status == 0, done.err
    shown = [line.split(":")[0] for line in done.err.splitlines()]
    assert shown == ["resolve", "train", "evaluate", "choose", "register", "promote", "report"]
    (run,) = kfp.runs.values()
    assert run["run_details"]["task_details"] == [], "Kubeflow's own list"


def test_a_failed_run_names_the_step_and_the_sentence_in_its_log(kfp: KfpServer, colorize: Colorize, submitted: str):
    kfp.story = failing(
        Step("resolve"),
        Step("train", "Failed", attempts=2, message="main: Error (exit code 1)", minute=3),
        Step("report"),
    )
    kfp.archived[argo.pod("train", attempt=0)] = "error: an earlier attempt\n"
    kfp.archived[argo.pod("train", attempt=1)] = (
        "I1127 03:04:05 launcher.go:1] starting\nerror: train.init names no version; write models:/colorizer/3.\n"
        "F1127 03:04:06 main.go:1] failed to execute component: exit status 1\n"
    )
    done = colorize("follow", submitted)
    assert done.status == 1
    assert done.err.splitlines()[-1] == (
        "error: The run failed (train: train.init names no version; write models:/colorizer/3); "
        f"see {kfp.url}/#/runs/details/{submitted}."
    )


def test_a_bug_is_shown_by_the_last_line_of_its_traceback(kfp: KfpServer, colorize: Colorize, submitted: str):
    kfp.story = failing(Step("evaluate", "Failed", message="main: Error (exit code 1)"))
    kfp.archived[argo.pod("evaluate")] = (
        'Traceback (most recent call last):\n  File "x.py"\nValueError: 3 is not 4\nI1127 end\n'
    )
    assert "(evaluate: ValueError: 3 is not 4)" in colorize("follow", submitted).err


def test_a_failed_driver_is_shown_by_its_fatal_line(kfp: KfpServer, colorize: Colorize, submitted: str):
    kfp.story = failing(Step("train", "Failed", message="main: Error (exit code 1)"))
    kfp.archived[argo.pod("train")] = (
        "I1128 03:30:21.585996      17 resolve.go:138] parent DAG input parameters: map[]\n"
        'F1128 03:30:21.586492      17 main.go:127] KFP driver: driver.Container(taskName="train", dagExecutionID=29) '
        'failed: failed to resolve inputs: input parameter "variant" type mismatch: expect STRUCT, got string\n'
        "Error: exit status 1\n"
    )
    said = colorize("follow", submitted).err
    assert '(train: failed to resolve inputs: input parameter "variant" type mismatch' in said


def test_a_log_that_kubeflow_does_not_find_is_asked_of_kubernetes(
    kfp: KfpServer, colorize: Colorize, submitted: str, tmp_path: Path
):
    configure_kubectl(tmp_path / "kubeconfig", kfp.url)
    kfp.story = failing(Step("train", "Failed", number=0, message="main: Error (exit code 1)"), compressed=True)
    kfp.logs[argo.pod("train")] = "error: the disk is full.\n"
    assert "(train: the disk is full);" in colorize("follow", submitted).err


def test_an_attempt_that_was_made_good_is_not_why_a_run_failed(kfp: KfpServer, colorize: Colorize, submitted: str):
    kfp.story = failing(
        Step("train", attempts=2), Step("register", "Failed", minute=5, message="main: OOMKilled (exit code 137)")
    )
    said = colorize("follow", submitted).err
    assert "(register: main: OOMKilled (exit code 137), and its log holds no error or is gone)" in said
    assert "pod deleted" not in said


def test_a_failure_without_a_log_is_looked_up_in_mlflow(
    kfp: KfpServer, colorize: Colorize, submitted: str, tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
):
    kfp.story = failing(Step("train", "Failed", message="main: Error (exit code 1)"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(migrated, tmp_path)}")
    monkeypatch.setenv(RUN_ID, submitted)
    mlflow_runs.begin_pipeline_run()
    mlflow_runs.note_failure("train", "the disk is full; make room.")
    monkeypatch.delenv(RUN_ID)
    said = colorize("follow", submitted).err
    assert "(train: the disk is full; make room);" in said


def test_a_canceled_run_is_called_so(kfp: KfpServer, colorize: Colorize, submitted: str):
    """Kubeflow 2.17 says FAILED of a run that somebody canceled."""
    kfp.story = failing(Step("train", "Failed", message="Step exceeded its deadline"), deadline=0)
    done = colorize("follow", submitted)
    assert done.status == 1
    assert "error: The run was canceled (train: Step exceeded its deadline" in done.err


@pytest.mark.parametrize("fault", [{"status": 502}, {"drop": "before"}, {"drop": "middle"}])
def test_follow_asks_on_when_the_server_does_not_answer(
    kfp: KfpServer, colorize: Colorize, submitted: str, fault: dict
):
    kfp.story = [{"state": "RUNNING", "workflow": workflow(Step("train", "Running"))}, {"state": "SUCCEEDED"}]
    kfp.faults = [Fault("GET .*runs/", times=9, **fault)]
    done = follow_by_name(kfp, colorize, submitted)
    assert done.status == 0, done.err
    lines = done.err.splitlines()
    assert lines.count("Kubeflow Pipelines does not answer; asking again for 10 minutes.") == 1
    assert lines.count("Kubeflow Pipelines answers again.") == 1
    assert "train: running" in lines


def test_follow_gives_up_on_a_server_that_stays_away(
    kfp: KfpServer, colorize: Colorize, submitted: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runs, "PATIENCE", 0)
    kfp.faults = [Fault("GET .*runs/", status=502)]
    done = follow_by_name(kfp, colorize, submitted)
    assert done.status == 1
    assert done.err.splitlines()[-1].startswith(f"error: Kubeflow Pipelines at {kfp.url} ")


def test_follow_ends_at_its_timeout_and_says_how_to_go_on(kfp: KfpServer, colorize: Colorize, submitted: str):
    kfp.story = [{"state": "RUNNING"}]
    done = colorize("follow", submitted, "--timeout", "0.05")
    assert done.status == 1
    assert f"has not ended after 0.05 s; it goes on, and `colorize follow {submitted}`" in done.err


def test_ctrl_c_says_how_to_follow_again(kfp: KfpServer, colorize: Colorize, submitted: str):
    kfp.story = [{"state": "RUNNING"}]
    timer = threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    done = colorize("follow", submitted)
    timer.join()
    assert done.status == 75
    assert done.err.splitlines()[-1] == f"interrupted: the run goes on; `colorize follow {submitted}` shows it again."


def test_a_name_means_its_newest_run(kfp: KfpServer, colorize: Colorize, submitted: str):
    new = kfp.runs[submitted] | {"display_name": "nightly", "state": "RUNNING"}
    other = "00000000-0000-4000-8000-000000000000"
    kfp.runs = {
        other: new | {"run_id": other, "created_at": "2026-11-20T03:00:00Z"},
        submitted: new,
    }
    assert colorize("cancel", "nightly").status == 0
    assert f"POST /apis/v2beta1/runs/{new['run_id']}:terminate" in kfp.requests
    unknown = colorize("cancel", "weekly")
    assert (unknown.status, unknown.err.count("\n")) == (1, 1)
    assert "There is no run 'weekly'" in unknown.err


def test_a_run_that_has_ended_cannot_be_canceled(kfp: KfpServer, colorize: Colorize, submitted: str):
    assert "has ended already: succeeded" in colorize("cancel", submitted).err


def test_retry_starts_a_failed_run_again_with_its_version_and_arguments(
    kfp: KfpServer, colorize: Colorize, submitted: str
):
    kfp.story = [{"state": "FAILED"}]
    done = colorize("retry", submitted)
    assert done.status == 0, done.err
    first, second = kfp.runs.values()
    for name in ("runtime_config", "pipeline_version_reference", "experiment_id", "service_account"):
        assert second[name] == first[name]
    assert second["run_id"] in done.out


@pytest.mark.parametrize(
    ("state", "words"), [("SUCCEEDED", "succeeded; there is nothing"), ("RUNNING", "has not ended")]
)
def test_retry_takes_only_a_run_that_failed(kfp: KfpServer, colorize: Colorize, submitted: str, state: str, words: str):
    kfp.story = [{"state": state}]
    done = colorize("retry", submitted)
    assert done.status == 1
    assert words in done.err
    assert len(kfp.runs) == 1
