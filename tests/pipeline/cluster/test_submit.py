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
from tests.support.kubeconfig import configure_kubectl

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
    assert arguments["only_if_changed"] is True
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


def test_without_cache_a_version_of_its_own_runs_every_step(kfp: KfpServer, colorize: Colorize):
    def caching(spec: dict) -> list[dict]:
        """Takes the cache's setting out of every task; returns all that are set."""
        dags = [component["dag"] for component in (spec["root"], *spec["components"].values()) if "dag" in component]
        return [found for dag in dags for task in dag["tasks"].values() if (found := task.pop("cachingOptions", {}))]

    for options in ((), ("--no-cache",), ("--no-cache",)):
        assert colorize("submit", *options).status == 0
    cached, uncached = (version["pipeline_spec"]["pipeline_spec"] for version in kfp.versions.values())
    assert {"enableCache": True} in caching(cached)
    assert caching(uncached) == []
    assert cached == uncached, "nothing else differs"


@pytest.mark.parametrize("option", ["--again", "--no-cache"])
def test_a_run_may_be_asked_for_although_nothing_is_new(kfp: KfpServer, colorize: Colorize, option: str):
    shown = yaml.safe_load(colorize("submit", option, "--dry-run").out)
    assert shown["run"]["runtime_config"]["parameters"]["only_if_changed"] is False


def test_a_run_may_have_a_pipeline_root_of_its_own(kfp: KfpServer, colorize: Colorize):
    options = ("--pipeline-root", "s3://mine/artifacts")
    shown = yaml.safe_load(colorize("submit", *options, "--dry-run").out)
    assert colorize("submit", *options).status == 0
    assert only(kfp.runs)["runtime_config"]["pipeline_root"] == "s3://mine/artifacts"
    assert shown["run"]["runtime_config"]["pipeline_root"] == "s3://mine/artifacts"


@pytest.mark.parametrize(
    ("strategy", "warned"),
    [
        ({"limit": "2", "retryPolicy": "OnError"}, True),
        ({"limit": "2", "retryPolicy": "Always"}, False),
        ({"limit": "2"}, False),
        (None, False),
    ],
)
def test_submit_says_when_the_cluster_does_not_retry_a_killed_process(
    kfp: KfpServer, colorize: Colorize, tmp_path: Path, strategy: dict | None, warned: bool
):
    configure_kubectl(tmp_path / "kubeconfig", kfp.url)
    spec = {"ttlStrategy": {"secondsAfterCompletion": 3600}}
    if strategy:
        spec["templateDefaults"] = {"retryStrategy": strategy}
    kfp.config_map = {"workflowDefaults": yaml.safe_dump({"spec": spec})}
    done = colorize("submit")
    assert done.status == 0, done.err
    assert ("retryPolicy OnError" in done.err) == ("k8s/components/retry" in done.err) == warned
    assert bool(done.err) == warned


def test_a_standalone_installation_has_no_namespaces(kfp: KfpServer, colorize: Colorize):
    kfp.multi_user = False
    done = colorize("submit", "--namespace", "kubeflow")
    assert done.status == 0, done.err
    assert len(kfp.runs) == 1


def test_submit_without_a_host_uses_the_cluster_of_kubectl(
    kfp: KfpServer, colorize: Colorize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    configure_kubectl(tmp_path / "kubeconfig", kfp.url)
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT")
    done = colorize("submit")
    assert done.status == 0, done.err
    assert only(kfp.runs)
    asked = {request.split()[1].partition("/apis/")[0].rstrip("/") for request in kfp.requests}
    settings = "/api/v1/namespaces/kubeflow/configmaps/workflow-controller-configmap"
    assert asked == {"/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy", settings}


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
