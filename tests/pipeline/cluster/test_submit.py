"""Tests of `colorize submit` with kfp's own client against a Kubeflow Pipelines server."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from components.images.hashes import code_version
from components.shared.machine.code import git_commit
from pipeline import compile as compiled
from pipeline.cluster import client as kubeflow
from pipeline.cluster.submit import recorded_version
from tests.support.kfp_server import Fault, KfpServer

Colorize = Callable[..., object]


def only(kept: dict[str, dict]) -> dict:
    (entry,) = kept.values()
    return entry


def test_submit_starts_a_run_with_all_its_arguments(kfp: KfpServer, colorize: Colorize):
    done = colorize("submit", "--recipe", "demo", "--set", "train.images=320000", "--experiment", "nightly")
    assert done.status == 0, done.err
    run = only(kfp.runs)
    assert f"{kfp.url}/#/runs/details/{run['run_id']}" in done.out
    assert run["service_account"] == "colorizer-steps"
    assert kfp.experiments[run["experiment_id"]]["display_name"] == "nightly"
    arguments = run["runtime_config"]["parameters"]
    assert arguments["data_version"] == recorded_version()
    (variant,) = arguments["variants"]
    assert arguments["recipe"] == variant["name"] == "demo"
    assert variant.keys() == {"name", "train"}
    assert arguments["tags"]["git_commit"] == git_commit()
    assert variant["train"]["images"] == 320000
    assert arguments["train_code"] == code_version("train")
    assert arguments["photos"] == "s3://colorizer-data"
    assert arguments["checkpoints"] == "s3://colorizer-checkpoints"
    assert arguments["only_if_changed"] is False
    version = only(kfp.versions)
    assert version["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "colorizer-retraining"
    assert version["pipeline_spec"]["platform_spec"]["platforms"]["kubernetes"]
    assert version["name"].startswith(git_commit()[:12])


def test_the_same_pipeline_is_uploaded_once(
    kfp: KfpServer, colorize: Colorize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    colorize("submit")
    monkeypatch.setattr("pipeline.cluster.submit.git_commit", lambda: "f" * 40)
    colorize("submit")
    assert (len(kfp.pipelines), len(kfp.versions), len(kfp.experiments), len(kfp.runs)) == (1, 1, 1, 2)

    other = tmp_path / "retraining.yaml"
    other.write_bytes(compiled.COMPILED.read_bytes() + b"# another graph\n")
    monkeypatch.setattr(compiled, "COMPILED", other)
    monkeypatch.setattr(compiled, "to_yaml", lambda *_: other.read_text())
    assert colorize("submit").status == 0
    assert (len(kfp.pipelines), len(kfp.versions)) == (1, 2)


def test_a_stale_compiled_pipeline_is_not_sent(
    kfp: KfpServer, colorize: Colorize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stale = tmp_path / "retraining.yaml"
    stale.write_text("old")
    monkeypatch.setattr(compiled, "COMPILED", stale)
    done = colorize("submit")
    assert done.status == 1
    assert "colorize compile" in done.err
    assert not kfp.requests


def test_dry_run_prints_the_arguments_of_a_run_and_uses_no_network(kfp: KfpServer, colorize: Colorize):
    done = colorize("submit", "--data", "latest", "--photos", "s3://mine/photos", "--dry-run")
    assert done.status == 0, done.err
    assert not kfp.requests
    shown = yaml.safe_load(done.out)
    assert colorize("submit", "--data", "latest", "--photos", "s3://mine/photos").status == 0
    sent = only(kfp.runs)
    assert shown["run"]["runtime_config"]["parameters"] == sent["runtime_config"]["parameters"]
    assert shown["version"] == only(kfp.versions)["name"]
    assert shown["run"]["runtime_config"]["parameters"]["only_if_changed"] is True


def test_follow_prints_each_change_of_a_steps_state(kfp: KfpServer, colorize: Colorize):
    def task(name: str, state: str) -> dict:
        times = {"start_time": "2026-11-25T03:00:00Z", "end_time": "2026-11-25T03:02:05Z"} if state != "RUNNING" else {}
        return {"display_name": name, "state": state, **times}

    def look(state: str, *tasks: dict) -> dict:
        return {"state": state, "run_details": {"task_details": [{"display_name": "root-driver"}, *tasks]}}

    kfp.story = [
        {"state": "PENDING"},
        look(
            "RUNNING", task("preprocess", "SUCCEEDED"), task("preprocess", "RUNNING"), task("preprocess", "SUCCEEDED")
        ),
        look("RUNNING", task("train", "RUNNING"), task("preprocess", "SUCCEEDED"), task("preprocess", "SUCCEEDED")),
        look("SUCCEEDED", task("preprocess", "SUCCEEDED"), task("train", "SUCCEEDED")),
    ]
    done = colorize("submit", "--follow")
    assert done.status == 0, done.err
    assert done.err.splitlines() == [
        "preprocess: running", "preprocess: succeeded, 125 s", "train: running", "train: succeeded, 125 s",
    ]  # fmt: skip
    assert done.out.splitlines()[1].startswith("The run succeeded: http")


def test_follow_prints_the_steps_of_several_variants(kfp: KfpServer, colorize: Colorize):
    tasks = [
        {"display_name": name, "state": "SUCCEEDED"}
        for name in ("choose", "train", "train", "resolve", "report", "register")
    ]
    kfp.story = [{"state": "SUCCEEDED", "run_details": {"task_details": tasks}}]
    done = colorize("submit", "--variants", "train.seed=1,train.seed=2", "--follow")
    assert done.status == 0, done.err
    shown = [line.split(":")[0] for line in done.err.splitlines() if line.endswith(": succeeded")]
    assert shown == ["resolve", "train", "choose", "register", "report"]


@pytest.mark.parametrize("state", ["FAILED", "CANCELED"])
def test_follow_exits_with_1_when_the_run_does_not_succeed(kfp: KfpServer, colorize: Colorize, state: str):
    trouble = {"display_name": "train", "state": "FAILED", "error": {"code": 13, "message": "out of memory"}}
    kfp.story = [{"state": state, "run_details": {"task_details": [trouble]}}]
    done = colorize("submit", "--follow")
    assert done.status == 1
    assert done.err.splitlines()[-1].startswith(f"error: The run {state.lower()} (train: out of memory)")
    assert done.err.count("\n") == 2, "a line for the step and one for the error"


def test_a_standalone_installation_has_no_namespaces(kfp: KfpServer, colorize: Colorize):
    kfp.multi_user = False
    done = colorize("submit", "--namespace", "kubeflow")
    assert done.status == 0, done.err
    assert len(kfp.runs) == 1


def test_submit_without_a_host_uses_the_cluster_of_kubectl(
    kfp: KfpServer, colorize: Colorize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    configuration = {
        "clusters": [{"name": "here", "cluster": {"server": kfp.url}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "current-context": "here",
    }
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(configuration))
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT")
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    done = colorize("submit")
    assert done.status == 0, done.err
    assert only(kfp.runs)
    asked = {request.split()[1].partition("/apis/")[0] for request in kfp.requests}
    assert asked == {"/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy/"}


def test_a_pipeline_version_deployed_by_gitops_is_used(kfp: KfpServer, colorize: Colorize, tmp_path: Path):
    file = tmp_path / "pipeline.yaml"
    assert colorize("compile", "--kubernetes", "--out", str(file)).status == 0
    pipeline, version = yaml.safe_load_all(file.read_text())
    metadata = pipeline["metadata"]
    kfp.pipelines["p"] = {
        "pipeline_id": "p",
        "display_name": pipeline["spec"]["displayName"],
        "namespace": metadata["namespace"],
    }
    kfp.versions["v"] = {
        "pipeline_version_id": "v",
        "pipeline_id": "p",
        "display_name": version["spec"]["displayName"],
        "pipeline_spec": {"pipeline_spec": version["spec"]["pipelineSpec"]},
    }
    done = colorize("submit")
    assert done.status == 0, done.err
    assert only(kfp.runs)["pipeline_version_reference"] == {"pipeline_id": "p", "pipeline_version_id": "v"}
    assert (len(kfp.pipelines), len(kfp.versions)) == (1, 1)


def test_a_cluster_with_other_settings_gets_the_pipeline_compiled_for_it(
    kfp: KfpServer, colorize: Colorize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = tmp_path / "cluster.yaml"
    settings.write_text("gpu: {count: 2}")
    monkeypatch.setattr(compiled, "COMPILED", tmp_path / "retraining.yaml")
    compiled.COMPILED.write_text(compiled.to_yaml(settings))
    assert "colorize compile" in colorize("submit").err
    assert colorize("submit", "--cluster", str(settings)).status == 0
    executors = only(kfp.versions)["pipeline_spec"]["pipeline_spec"]["deploymentSpec"]["executors"]
    assert executors["exec-train"]["container"]["resources"]["accelerator"]["resourceCount"] == "2"


def test_a_token_is_read_from_its_file(kfp: KfpServer, colorize: Colorize, tmp_path: Path):
    kfp.token = "a token of the tests"
    file = tmp_path / "token"
    file.write_text(kfp.token)
    assert colorize("submit", "--token-file", str(file)).status == 0
    file.write_text("an old one")
    refused = colorize("submit", "--token-file", str(file))
    assert refused.status == 1
    assert "denies access" in refused.err
    assert len(kfp.runs) == 1


def test_a_simultaneous_submission_is_no_failure(kfp: KfpServer, colorize: Colorize):
    """Another submission creates pipeline, version and experiment first, so that the server answers 409."""
    answer = kfp.answer

    def late(method: str, path: str, query: dict, body: object) -> dict:
        first = answer(method, path, query, body)
        if method == "POST" and path in ("pipelines", "pipelines/upload_version", "experiments"):
            return answer(method, path, query, body)  # ours, after theirs
        return first

    kfp.answer = late
    done = colorize("submit")
    assert done.status == 0, done.err
    assert (len(kfp.pipelines), len(kfp.versions), len(kfp.experiments), len(kfp.runs)) == (1, 1, 1, 1)


@pytest.mark.parametrize("pattern", ["GET", "POST .*/runs$", "upload_version"])
def test_a_request_to_a_busy_server_is_retried(kfp: KfpServer, colorize: Colorize, pattern: str):
    kfp.faults = [Fault(pattern, times=3, status=503)]
    done = colorize("submit")
    assert done.status == 0, done.err
    assert len(kfp.runs) == len(kfp.versions) == 1


@pytest.mark.parametrize("fault", [Fault("GET", times=1, drop="middle"), Fault("GET", times=1, seconds=10)])
def test_a_read_request_without_an_answer_is_retried(
    kfp: KfpServer, colorize: Colorize, monkeypatch: pytest.MonkeyPatch, fault: Fault
):
    monkeypatch.setattr(kubeflow, "TIMEOUT", (10, 5))
    kfp.faults = [fault]
    assert colorize("submit").status == 0
    assert len(kfp.runs) == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(".", status=401), ("denies access", "--token-file", "KF_PIPELINES_COOKIES")),
        (Fault("POST .*/runs$", status=403), ("denies access to namespace colorizer", "on demand 403")),
        (Fault(".", page=True), ("denies access", "a web page")),
        (Fault(".", status=404), ("found nothing", "--host")),
        (Fault("POST .*/experiments", status=409), ("refused", "409")),
        (Fault(".", status=503), ("busy or starting up", "503")),
        (Fault(".", status=500), ("refused", "500")),
        (Fault("POST .*/runs$", seconds=3), ("did not answer within 1 s",)),
        (Fault("GET", seconds=3), ("did not answer within 1 s",)),
        (Fault("POST .*/runs$", drop="after"), ("closed the connection", "check on its web page")),
        (Fault("GET", drop="middle"), ("closed the connection",)),
        (Fault(".", drop="before"), ("closed the connection",)),
    ],
)
def test_an_error_of_the_server_is_explained_in_one_line(
    kfp: KfpServer, colorize: Colorize, monkeypatch: pytest.MonkeyPatch, fault: Fault, words: tuple[str, ...]
):
    if fault.seconds:
        monkeypatch.setattr(kubeflow, "TIMEOUT", (2, 1))
    kfp.faults = [fault]
    done = colorize("submit")
    assert done.status == 1
    assert done.err.startswith(f"error: Kubeflow Pipelines at {kfp.url} ")
    assert done.err.count("\n") == 1, done.err
    for word in words:
        assert word in done.err


def test_a_lost_answer_does_not_start_a_run_twice(kfp: KfpServer, colorize: Colorize):
    kfp.faults = [Fault("POST .*/runs$", drop="after")]
    colorize("submit")
    assert len(kfp.runs) == 1


def test_an_unreachable_host_is_named(kfp: KfpServer, colorize: Colorize):
    done = colorize("submit", "--host", "http://127.0.0.1:9")
    assert done.status == 1
    assert "http://127.0.0.1:9 cannot be reached" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("option", ["--token-file", "--ca-file"])
def test_a_missing_token_or_ca_file_is_named(kfp: KfpServer, colorize: Colorize, option: str):
    done = colorize("submit", option, "/nowhere/file")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert option in done.err
