"""Tests of the step that trains on several nodes: it creates, follows and deletes a TrainJob."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.shared.s3.client import Address
from components.shared.s3.folders import download_folder, upload_folder
from components.train.environment import POD
from components.train.torchrun import arguments
from components.train.trainjob import job
from components.train.trainjob.attempt import train_on_nodes
from model.utils.errors import Interrupted, UserError
from pipeline.cluster.settings import load_cluster
from pipeline.place import train_job
from tests.support.faulty_proxy import FaultyProxy
from tests.support.kubernetes_server import KubernetesServer, Object, kubernetes_server
from tests.support.remote import contents
from tests.support.s3 import S3Server
from tests.support.tiny import tiny_config, tiny_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def cluster(workplace: Path, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesServer]:
    """Yields a cluster, with this process as one of its pods."""
    monkeypatch.setattr(job, "PAUSE", 0.05)
    monkeypatch.setenv("KUBECONFIG", str(workplace / "kubeconfig"))
    monkeypatch.setenv("KFP_RUN_ID", "b1946ac9")
    for variable in POD:
        monkeypatch.setenv(variable, variable.lower().replace("_", "-"))
    with kubernetes_server(workplace / "kubeconfig") as server:
        yield server


def template(tmp_path: Path, gpu: str = "nodes: 2") -> str:
    (tmp_path / "cluster.yaml").write_text(f"gpu: {{{gpu}}}")
    return json.dumps(train_job(load_cluster(tmp_path / "cluster.yaml")))


def work(made: Object) -> dict[str, Any]:
    """Returns the arguments that the TrainJob gives to its nodes."""
    arguments: dict[str, Any] = json.loads(made["spec"]["trainer"]["args"][-1].replace("$$", "$"))
    return arguments


def start(dataset: Path, root: Address, spec: str, *overrides: str) -> None:
    train_on_nodes(spec, arguments(str(dataset), "out/model", str(root), tiny_config(*overrides), "c0de"))


def succeed(cluster: KubernetesServer, made: Object, folder: Path) -> None:
    """Completes a job as Kubeflow Trainer and its nodes would."""
    pods = [cluster.pod(made, index, "Running", running={}) for index in range(2)]
    download_folder(Address.parse(work(made)["dataset"]), folder / "dataset-of-the-nodes", "dataset.json")
    (folder / "trained").mkdir()
    (folder / "trained" / "generator.json").write_text("{}")
    upload_folder(folder / "trained", Address.parse(work(made)["output"]))
    for index, pod in enumerate(pods):
        for images in range(10):
            cluster.say(pod, f"node {index}: {images} of 10 images")
            time.sleep(0.02)
        cluster.pod(made, index, "Succeeded", terminated={"exitCode": 0})
    cluster.conclude(made, "Complete")


def test_a_job_is_created_followed_and_deleted_despite_faults(
    cluster: KubernetesServer, dataset: Path, root: Address, s3: S3Server, tmp_path: Path, capsys
) -> None:
    """Connections break in the middle of the log, and the API server fails for a while."""
    made: list[Object] = []
    cluster.cut = 3
    cluster.faults = [("POST", 503), ("GET .*pods$", 0), ("GET .*trainjobs", 500), ("GET .*log", 500)]

    def run(new: Object) -> None:
        made.append(json.loads(json.dumps(new)))
        succeed(cluster, new, tmp_path)

    cluster.on_create = run
    start(dataset, root, template(tmp_path), "seed=7")
    assert Path("out/model/generator.json").is_file()
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("node")] == [f"node 0: {n} of 10 images" for n in range(10)]
    assert any(line.endswith("pods: 2 running") for line in lines)
    assert not cluster.faults
    for name in ("dataset.json", "train-00000.npy"):
        assert (tmp_path / "dataset-of-the-nodes" / name).read_bytes() == (dataset / name).read_bytes()

    (job_made,) = made
    assert job_made["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "pod-name", "uid": "pod-uid"}
    ]
    told = work(job_made)
    assert job_made["spec"]["trainer"]["args"][0] == "--nnodes=1:2"
    assert told["config"]["seed"] == 7
    assert {"name": "KFP_RUN_ID", "value": "b1946ac9"} in job_made["spec"]["trainer"]["env"]
    (patch,) = job_made["spec"]["runtimePatches"]
    (nodes,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    assert nodes["template"]["spec"]["template"]["spec"]["serviceAccountName"] == "pod-service-account"
    assert "deletionTimestamp" in cluster.jobs[job_made["metadata"]["name"]]["metadata"]
    assert contents(s3, root) == {}


@pytest.mark.parametrize(
    ("gpu", "batch", "nodes"),
    [
        ("nodes: 2", 8, "1:2"),
        ("nodes: 2, count: 2", 8, "1:2"),
        ("nodes: 4", 8, "4:4"),
        ("nodes: 4", 12, "1:4"),
        ("nodes: 4", 36, "1:4"),
        ("nodes: 6", 60, "1:6"),
        ("nodes: 6", 30, "5:6"),
    ],
)
def test_the_minimum_of_nodes_is_the_least_number_that_can_share_a_batch(
    cluster: KubernetesServer, dataset: Path, root: Address, tmp_path: Path, gpu: str, batch: int, nodes: str
) -> None:
    cluster.on_create = lambda made: cluster.conclude(made, "Failed", "Enough", made["spec"]["trainer"]["args"][0])
    with pytest.raises(UserError, match=rf"has failed \(Enough: --nnodes={nodes}\)"):
        start(dataset, root, template(tmp_path, gpu), f"batch_size={batch}")


def test_the_step_fails_with_the_error_message_of_the_training(
    cluster: KubernetesServer, dataset: Path, root: Address, tmp_path: Path
) -> None:
    def run(made: Object) -> None:
        cluster.pod(made, 0, "Running", running={})
        ended = {"terminated": {"exitCode": 1, "message": "Training broke down; lower train.learning_rate."}}
        cluster.pod(made, 1, "Running", waiting={"reason": "CrashLoopBackOff"}, last=ended)

    cluster.on_create = run
    with pytest.raises(UserError, match=r"^Training broke down; lower train\.learning_rate\.$"):
        start(dataset, root, template(tmp_path))
    assert all("deletionTimestamp" in found["metadata"] for found in cluster.jobs.values())


def test_sigterm_deletes_the_job(cluster: KubernetesServer, dataset: Path, root: Address, tmp_path: Path) -> None:
    def run(made: Object) -> None:
        pod = cluster.pod(made, 0, "Running", running={})
        cluster.say(pod, "it trains")
        while not any(request.endswith("/log") for request in cluster.requests):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    cluster.on_create = run
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match=r"TrainJob colorizer-[0-9a-f]{16} is deleted"):
        start(dataset, root, template(tmp_path))
    assert signal.getsignal(signal.SIGTERM) is before
    assert all("deletionTimestamp" in found["metadata"] for found in cluster.jobs.values())


def _lose_the_step(monkeypatch: pytest.MonkeyPatch, dataset: Path, root: Address, spec: str) -> None:
    """Starts an attempt whose pod vanishes while the job continues."""
    with monkeypatch.context() as context:
        context.setattr(job.Job, "follow", lambda self: os.lstat("a node that is gone"))
        context.setattr(job.Job, "delete", lambda self: None)
        with pytest.raises(FileNotFoundError):
            start(dataset, root, spec)


def test_a_new_attempt_adopts_the_job_of_a_lost_step(
    cluster: KubernetesServer, dataset: Path, root: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lose_the_step(monkeypatch, dataset, root, template(tmp_path))
    (made,) = cluster.jobs.values()
    monkeypatch.setenv("POD_UID", "another")
    threading.Thread(target=succeed, args=(cluster, made, tmp_path)).start()
    start(dataset, root, template(tmp_path))
    assert Path("out/model/generator.json").is_file()
    assert [owner["uid"] for owner in made["metadata"]["ownerReferences"]] == ["another"]
    assert sum(request.startswith("POST") for request in cluster.requests) == 1


def test_a_failed_job_and_a_job_under_deletion_are_replaced(
    cluster: KubernetesServer, dataset: Path, root: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = template(tmp_path)
    for ending in ("failed", "deleted"):
        cluster.on_create = lambda made: None
        _lose_the_step(monkeypatch, dataset, root, spec)
        (made,) = cluster.jobs.values()
        if ending == "failed":
            cluster.conclude(made, "Failed", "BackoffLimitExceeded")
        else:
            made["metadata"]["deletionTimestamp"] = "2026-11-25T04:00:00Z"
        cluster.on_create = lambda made, folder=tmp_path / ending: (folder.mkdir(), succeed(cluster, made, folder))
        start(dataset, root, spec)
        cluster.jobs.clear()
    assert sum(request.startswith("POST") for request in cluster.requests) == 4


def test_another_run_and_another_recipe_create_a_job_of_their_own(
    cluster: KubernetesServer, dataset: Path, root: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = template(tmp_path)
    _lose_the_step(monkeypatch, dataset, root, spec)
    with monkeypatch.context() as context:
        context.setattr(job.Job, "follow", lambda self: os.lstat("a node that is gone"))
        context.setattr(job.Job, "delete", lambda self: None)
        with pytest.raises(FileNotFoundError):
            start(dataset, root, spec, "seed=1")
    monkeypatch.setenv("KFP_RUN_ID", "another")
    _lose_the_step(monkeypatch, dataset, root, spec)
    assert len(cluster.jobs) == 3


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, r"lets the step make no TrainJobs \(403: on demand\); add k8s/components/trainer"),
        (422, r"refuses the TrainJob \(422: on demand\)"),
    ],
)
def test_a_refused_job_is_explained(
    cluster: KubernetesServer, dataset: Path, root: Address, tmp_path: Path, status: int, words: str
) -> None:
    cluster.faults = [("POST", status)]
    with pytest.raises(UserError, match=words):
        start(dataset, root, template(tmp_path))


def test_a_cluster_without_kubeflow_trainer_is_explained(
    cluster: KubernetesServer, dataset: Path, root: Address, tmp_path: Path
) -> None:
    spec = json.loads(template(tmp_path))
    monkey = cluster.answer
    cluster.answer = lambda method, path, query, body: monkey(method, "/nowhere", query, body)  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"knows no TrainJobs .*; install Kubeflow Trainer, or set gpu\.nodes to 1"):
        start(dataset, root, json.dumps(spec))


def test_a_deleted_job_is_reported(cluster: KubernetesServer, dataset: Path, root: Address, tmp_path: Path) -> None:
    cluster.on_create = lambda made: cluster.jobs.clear()
    with pytest.raises(UserError, match="was deleted while it ran"):
        start(dataset, root, template(tmp_path))


def test_a_wrong_batch_size_or_checkpoint_folder_is_refused_before_any_request(
    cluster: KubernetesServer, dataset: Path, root: Address, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"batch_size is 8; it must be a multiple of the 6 processes"):
        start(dataset, root, template(tmp_path, "nodes: 3, count: 2"))
    with pytest.raises(UserError, match=r"checkpoints is here; several nodes \(gpu\.nodes\) need s3://bucket/prefix"):
        train_on_nodes(template(tmp_path), arguments(str(dataset), "model", "here", tiny_config(), ""))
    assert cluster.requests == []
