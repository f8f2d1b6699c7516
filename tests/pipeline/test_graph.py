"""Tests of the compiled pipeline: current, repeatable, and with the resources, caching and retries of the settings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from google.protobuf.json_format import MessageToDict
from kfp import compiler
from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

from components.images.names import CPU_IMAGE
from model.utils.errors import UserError
from pipeline import compile as compiled
from pipeline.cluster.settings import load_cluster
from pipeline.graph import build, retraining
from pipeline.place import STEP_LABELS, train_job

CLUSTER = load_cluster()
STEPS = {
    "resolve", "partition", "preprocess", "merge", "inspect", "train", "evaluate", "choose", "register", "promote",
    "report",
}  # fmt: skip


@pytest.fixture(scope="module")
def documents() -> list[dict]:
    return list(yaml.safe_load_all(compiled.COMPILED.read_text(encoding="utf-8")))


def tasks(spec: dict) -> dict[str, dict]:
    """Returns every task of the pipeline at any depth, by name."""
    found = dict(spec["root"]["dag"]["tasks"])
    for component in spec["components"].values():
        found.update(component.get("dag", {}).get("tasks", {}))
    return found


def steps(deployment: dict) -> dict[str, dict]:
    """Returns every executor of a deployment spec, by the name of its step."""
    return {name.removeprefix("exec-"): executor for name, executor in deployment["executors"].items()}


def test_the_compiled_files_in_the_repository_are_current():
    compiled.check()


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_pipeline_compiles_to_the_same_bytes_in_any_process(hash_seed: str):
    program = "import sys; from pathlib import Path; from pipeline import compile; print(compile.to_yaml(), end='')"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", program], check=True, env=environment, stdout=subprocess.PIPE)
    assert done.stdout == compiled.COMPILED.read_bytes()


@pytest.mark.parametrize("name", ["COMPILED", "DVC", "TABLE"])
def test_a_stale_compiled_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    current: Path = getattr(compiled, name)
    stale = tmp_path / current.name
    stale.write_bytes(current.read_bytes() + b"# edited\n")
    monkeypatch.setattr(compiled, name, stale)
    with pytest.raises(UserError, match="colorize compile"):
        compiled.check()


def test_every_step_requests_the_resources_of_the_settings(documents: list[dict]):
    assert steps(documents[0]["deploymentSpec"]).keys() == STEPS
    for step, executor in steps(documents[0]["deploymentSpec"]).items():
        resources, expected = executor["container"]["resources"], CLUSTER.resources(step)
        assert (resources["resourceCpuRequest"], resources["resourceCpuLimit"]) == expected.cpu, step
        assert (resources["resourceMemoryRequest"], resources["resourceMemoryLimit"]) == expected.memory, step


ENVIRONMENT = {
    "KFP_RUN_ID": "metadata.labels['pipeline/runid']",
    "MLFLOW_TRACKING_URI": "colorizer",
    "MLFLOW_EXPERIMENT_NAME": "colorizer",
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "colorizer",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "colorizer",
    "AWS_ENDPOINT_URL_S3": "colorizer",
    "AWS_DEFAULT_REGION": "colorizer",
    "AWS_ACCESS_KEY_ID": "colorizer-s3",
    "AWS_SECRET_ACCESS_KEY": "colorizer-s3",
    "MLFLOW_TRACKING_USERNAME": "colorizer-mlflow",
    "MLFLOW_TRACKING_PASSWORD": "colorizer-mlflow",
}
MORE = {
    "train": {"COLORIZE_RETRIES": "metadata.annotations['colorizer/colorize-retries']"},
    "report": {
        "COLORIZE_KFP_UI": "colorizer",
        "COLORIZE_MLFLOW_UI": "colorizer",
        "COLORIZE_KFP_API": "colorizer",
        "COLORIZE_WEBHOOK_URL": "colorizer-webhook",
    },
}
"""Source of each variable (field of the pod, ConfigMap or Secret): for every step, and further ones of some."""


def test_every_step_has_its_environment_a_scratch_folder_and_runs_as_non_root(documents: list[dict]):
    pods = steps(documents[1]["platforms"]["kubernetes"]["deploymentSpec"])
    assert pods.keys() == STEPS
    for step, pod in pods.items():
        found = {entry["name"]: entry["fieldPath"] for entry in pod["fieldPathAsEnv"]}
        for source, name, key in (
            *((source, "configMapName", "configMapKey") for source in pod["configMapAsEnv"]),
            *((source, "secretName", "secretKey") for source in pod["secretAsEnv"]),
        ):
            assert source["optional"], (step, source)
            for pair in source["keyToEnv"]:
                assert pair[key] == pair["envVar"], step
                found[pair["envVar"]] = source[name]
        assert found == ENVIRONMENT | MORE.get(step, {}), step
        scratch = {"mountPath": "/tmp", "sizeLimit": CLUSTER.resources(step).scratch, "volumeName": "scratch"}
        assert scratch in pod["emptyDirMounts"], step
        assert pod["securityContext"] == {"runAsNonRoot": True}, step
        assert pod["podMetadata"]["labels"] == STEP_LABELS, step


def test_only_training_requests_a_gpu_node(documents: list[dict]):
    asked = {step: pod["container"]["resources"] for step, pod in steps(documents[0]["deploymentSpec"]).items()}
    gpu = asked.pop("train")["accelerator"]
    assert (gpu["resourceType"], gpu["resourceCount"]) == ("nvidia.com/gpu", "1")
    assert not any("accelerator" in resources for resources in asked.values())
    pods = steps(documents[1]["platforms"]["kubernetes"]["deploymentSpec"])
    train = pods.pop("train")
    assert train["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    shared = {"mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": "2Gi", "volumeName": "shared-memory"}
    assert shared in train["emptyDirMounts"]
    for step, pod in pods.items():
        assert not pod.keys() & {"tolerations", "nodeSelector", "nodeAffinity"}, step
        assert len(pod["emptyDirMounts"]) == 1, step


def test_the_retry_window_of_training_covers_every_attempt(documents: list[dict]):
    retry = CLUSTER.retry
    policy = tasks(documents[0])["train"]["retryPolicy"]
    assert policy["maxRetryCount"] == retry.limit
    longest, pause = 0, int(policy["backoffDuration"].removesuffix("s"))
    for _ in range(retry.limit):
        longest += retry.max_pending + retry.timeout + pause
        pause *= policy["backoffFactor"]
    assert int(policy["backoffMaxDuration"].removesuffix("s")) >= longest + retry.max_pending + retry.timeout
    pod = steps(documents[1]["platforms"]["kubernetes"]["deploymentSpec"])["train"]
    assert int(pod["activeDeadlineSeconds"]) == retry.timeout


def test_steps_that_stream_shards_get_the_cache_limit(documents: list[dict]):
    found = {
        step: [(entry["name"], entry["value"]) for entry in executor["container"].get("env", [])]
        for step, executor in steps(documents[0]["deploymentSpec"]).items()
    }
    limit = [("COLORIZE_SHARD_CACHE_BYTES", str(8 << 30))]
    assert found == {step: limit if step in ("inspect", "train", "evaluate") else [] for step in found}
    publish = tasks(documents[0])["merge"]["inputs"]["parameters"]["publish"]
    assert publish == {"runtimeValue": {"constant": ""}}


OTHER = """
gpu:
  resource: amd.com/gpu
  count: 2
  labels: {kueue.x-k8s.io/queue-name: colorizer-training}
  annotations: {karpenter.sh/do-not-disrupt: "true"}
  node_selector: {pool: training}
  affinity:
    - {key: gpu.example/model, operator: In, values: [mi300x, mi325x]}
    - {key: spot, operator: DoesNotExist}
  tolerations:
    - {key: amd.com/gpu, operator: Exists, effect: NoSchedule}
    - {key: team, operator: Equal, value: vision, effect: NoExecute}
  shared_memory: 8Gi
retry: {timeout: 3600, limit: 9}
shards: {publish: "s3://datasets/colorizer"}
steps:
  train: {cpu: [16, 32], memory: [64Gi, 96Gi], scratch: 100Gi}
"""


def test_cluster_settings_change_the_training_pod_and_the_address_of_shards(tmp_path: Path, documents: list[dict]):
    (tmp_path / "cluster.yaml").write_text(OTHER, encoding="utf-8")
    (tmp_path / "out.yaml").write_text(compiled.to_yaml(tmp_path / "cluster.yaml"), encoding="utf-8")
    spec, platform = yaml.safe_load_all((tmp_path / "out.yaml").read_text(encoding="utf-8"))
    resources = steps(spec["deploymentSpec"])["train"]["container"]["resources"]
    assert resources["resourceCpuLimit"] == "32"
    assert resources["resourceMemoryLimit"] == "96Gi"
    assert (resources["accelerator"]["resourceType"], resources["accelerator"]["resourceCount"]) == ("amd.com/gpu", "2")
    publish = tasks(spec)["merge"]["inputs"]["parameters"]["publish"]
    assert publish == {"runtimeValue": {"constant": "s3://datasets/colorizer"}}
    policy = tasks(spec)["train"]["retryPolicy"]
    assert policy["maxRetryCount"] == 9
    assert int(policy["backoffMaxDuration"].removesuffix("s")) > 10 * 3600
    pods, before = (
        steps(document["platforms"]["kubernetes"]["deploymentSpec"]) for document in (platform, documents[1])
    )
    train = pods.pop("train")
    before.pop("train")
    assert train["podMetadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "colorizer-training"} | STEP_LABELS
    assert train["podMetadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
    assert train["nodeSelector"]["labels"] == {"pool": "training"}
    (affinity,) = train["nodeAffinity"]
    assert affinity["matchExpressions"] == [
        {"key": "gpu.example/model", "operator": "In", "values": ["mi300x", "mi325x"]},
        {"key": "spot", "operator": "DoesNotExist"},
    ]
    assert "weight" not in affinity  # required, not preferred
    assert train["tolerations"] == [
        {"key": "amd.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "team", "operator": "Equal", "value": "vision", "effect": "NoExecute"},
    ]
    assert {mount["mountPath"]: mount["sizeLimit"] for mount in train["emptyDirMounts"]} == {
        "/tmp": "100Gi",
        "/dev/shm": "8Gi",
    }
    assert int(train["activeDeadlineSeconds"]) == int(pods["preprocess"].pop("activeDeadlineSeconds")) == 3600
    assert pods == {
        step: {key: value for key, value in pod.items() if (step, key) != ("preprocess", "activeDeadlineSeconds")}
        for step, pod in before.items()
    }


def compiled_for(tmp_path: Path, gpu: str) -> tuple[dict, dict, dict]:
    """Returns the resources, the pod and the variables of the train step compiled for these GPU settings."""
    (tmp_path / "cluster.yaml").write_text(f"gpu: {{{gpu}}}", encoding="utf-8")
    (tmp_path / "retraining.yaml").write_text(compiled.to_yaml(tmp_path / "cluster.yaml"), encoding="utf-8")
    spec, platform = yaml.safe_load_all((tmp_path / "retraining.yaml").read_text(encoding="utf-8"))
    pod = steps(platform["platforms"]["kubernetes"]["deploymentSpec"])["train"]
    variables = {each["name"]: each["fieldPath"] for each in pod["fieldPathAsEnv"]}
    annotations = pod.get("podMetadata", {}).get("annotations", {})
    values = {name: annotations.get(path[len("metadata.annotations['") : -2], path) for name, path in variables.items()}
    return steps(spec["deploymentSpec"])["train"]["container"]["resources"], pod, values


def test_no_gpu_gives_the_image_without_cuda(tmp_path: Path):
    (tmp_path / "cluster.yaml").write_text("gpu: {count: 0}", encoding="utf-8")
    spec, _ = yaml.safe_load_all(compiled.to_yaml(tmp_path / "cluster.yaml"))
    pods = {step: each["container"] for step, each in steps(spec["deploymentSpec"]).items()}
    assert not any("accelerator" in pod["resources"] for pod in pods.values())
    assert {pod["image"] for pod in pods.values()} == {CPU_IMAGE}


def test_several_gpus_give_as_many_processes(tmp_path: Path):
    resources, _, variables = compiled_for(tmp_path, "count: 4")
    assert resources["accelerator"]["resourceCount"] == "4"
    assert variables["COLORIZE_PROCESSES"] == "4"
    assert variables["COLORIZE_RETRIES"] == str(CLUSTER.retry.limit)
    assert "COLORIZE_TRAINJOB" not in variables


def test_several_nodes_give_a_train_job_and_a_small_step_pod(tmp_path: Path):
    gpu = "nodes: 3, count: 2, node_selector: {pool: training}, affinity: [{key: zone, operator: In, values: [a]}]"
    labels = "labels: {kueue.x-k8s.io/queue-name: colorizer-training, team: vision}"
    annotations = "annotations: {karpenter.sh/do-not-disrupt: 'true'}"
    resources, pod, variables = compiled_for(tmp_path, f"{gpu}, {labels}, {annotations}")
    assert "accelerator" not in resources
    assert "COLORIZE_RETRIES" not in variables  # torchrun restarts the processes of each node
    assert resources["resourceMemoryLimit"] == CLUSTER.resources("resolve").memory[1]
    assert not pod.keys() & {"tolerations", "nodeSelector", "nodeAffinity"}
    assert pod["podMetadata"]["labels"] == STEP_LABELS
    assert pod["podMetadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
    assert {name: variables[name] for name in variables if name.startswith("POD_")} == {
        "POD_NAME": "metadata.name",
        "POD_UID": "metadata.uid",
        "POD_NAMESPACE": "metadata.namespace",
        "POD_SERVICE_ACCOUNT": "spec.serviceAccountName",
    }
    job = json.loads(variables["COLORIZE_TRAINJOB"])
    assert job["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "colorizer-training", "team": "vision"}
    trainer = job["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (3, 2)
    train = CLUSTER.resources("train")
    assert trainer["resourcesPerNode"] == {
        "requests": {"cpu": train.cpu[0], "memory": train.memory[0], "nvidia.com/gpu": "2"},
        "limits": {"cpu": train.cpu[1], "memory": train.memory[1], "nvidia.com/gpu": "2"},
    }
    sources = {each["name"]: next(iter(each["valueFrom"].values())) for each in trainer["env"]}
    assert {name: source["name"] for name, source in sources.items()} == {
        name: source for name, source in ENVIRONMENT.items() if name != "KFP_RUN_ID"
    }
    assert all(source["optional"] for source in sources.values())
    (patch,) = job["spec"]["runtimePatches"]
    (nodes,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    placed = nodes["template"]["spec"]["template"]
    own = {"app.kubernetes.io/name": "colorizer-train", "app.kubernetes.io/part-of": "colorizer"}
    assert placed["metadata"]["labels"] == own | {"team": "vision"}  # Kueue takes the whole job
    assert placed["metadata"]["annotations"] == {"karpenter.sh/do-not-disrupt": "true"}
    assert placed["spec"]["nodeSelector"] == {"pool": "training"}
    assert placed["spec"]["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    terms = placed["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert terms["nodeSelectorTerms"] == [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
    volumes = {volume["name"]: volume["emptyDir"] for volume in placed["spec"]["volumes"]}
    assert volumes == {
        "scratch": {"sizeLimit": train.scratch},
        "shared-memory": {"medium": "Memory", "sizeLimit": CLUSTER.gpu.shared_memory},
    }


def test_steps_that_change_the_registry_or_report_are_never_cached(documents: list[dict]):
    cached = {name for name, task in tasks(documents[0]).items() if task.get("cachingOptions", {}).get("enableCache")}
    assert {"partition", "preprocess", "merge", "inspect", "train", "evaluate", "choose"} <= cached
    assert not cached & {"resolve", "register", "promote", "report"}


def test_the_cache_keys_of_steps_include_data_version_and_code(documents: list[dict]):
    inputs = {name: task.get("inputs", {}).get("parameters", {}) for name, task in tasks(documents[0]).items()}
    assert "data_version" in inputs["partition"]
    for step in ("partition", "preprocess", "merge", "inspect", "train", "evaluate"):
        assert "code" in inputs[step], step
        assert not any("run" in name for name in inputs[step]), step


def test_training_runs_after_inspect_but_depends_neither_on_its_output_nor_on_the_champion(documents: list[dict]):
    around, loop = loop_of_variants(documents[0])
    assert around[loop]["dependentTasks"] == ["inspect", "merge"]
    train = tasks(documents[0])["train"]
    assert "inspect" not in str(train["inputs"])
    assert "champion" not in train["inputs"]["parameters"]


def loop_of_variants(spec: dict) -> tuple[dict, str]:
    """Returns the tasks around the loop over variants, and the loop's name among them."""
    dags = {name: one["dag"]["tasks"] for name, one in spec["components"].items() if "dag" in one}
    (loop,) = [name for name, tasks in dags.items() if "train" in tasks]
    assert dags[loop].keys() == {"train", "evaluate"}
    (around,) = [tasks for tasks in dags.values() if "choose" in tasks]
    (name,) = [name for name, task in around.items() if task["componentRef"]["name"] == loop]
    return around, name


def test_variants_share_preprocessing_and_are_compared_by_choose(tmp_path: Path):
    (tmp_path / "cluster.yaml").write_text("variants: 5", encoding="utf-8")
    spec, platform = yaml.safe_load_all(compiled.to_yaml(tmp_path / "cluster.yaml"))
    around, loop = loop_of_variants(spec)
    assert around[loop]["iteratorPolicy"]["parallelismLimit"] == 5
    assert around["choose"]["dependentTasks"] == [loop]
    assert around["merge"]["cachingOptions"] == {"enableCache": True}
    executors = spec["deploymentSpec"]["executors"]
    assert "accelerator" in executors["exec-train"]["container"]["resources"]
    assert platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].keys() == executors.keys()


def test_settings_of_an_unknown_step_are_refused(tmp_path: Path):
    settings = "steps: {trian: {cpu: [1, 2], memory: [1Gi, 2Gi], scratch: 1Gi}}"
    (tmp_path / "cluster.yaml").write_text(settings, encoding="utf-8")
    with pytest.raises(UserError, match=r"steps\.trian is no step of the graph; there are: choose, evaluate, "):
        compiled.to_yaml(tmp_path / "cluster.yaml")


def test_a_local_run_has_no_retries_and_runs_variants_one_after_another():
    spec = MessageToDict(retraining.pipeline_spec)
    assert "retryPolicy" not in str(spec)
    around, loop = loop_of_variants(spec)
    assert around[loop]["iteratorPolicy"]["parallelismLimit"] == 1


def test_no_run_and_no_pod_lasts_for_ever(documents: list[dict]):
    platform, deadline = documents[1]["platforms"]["kubernetes"], CLUSTER.deadline
    assert platform["pipelineConfig"]["activeDeadlineSeconds"] == deadline.run > CLUSTER.retry.window
    lives = {name: int(pod["activeDeadlineSeconds"]) for name, pod in steps(platform["deploymentSpec"]).items()}
    assert lives.pop("report") == deadline.report
    assert lives.pop("train") == lives.pop("preprocess") == CLUSTER.retry.timeout
    assert set(lives.values()) == {deadline.step}


def test_the_compiled_pipeline_is_ascii():
    # The compiled YAML may be stored in ASCII-only database columns.
    compiled.COMPILED.read_bytes().decode("ascii")


def test_the_compiled_file_is_the_graph_built_for_the_default_cluster(tmp_path: Path):
    target = tmp_path / "retraining.yaml"
    compiler.Compiler().compile(build(CLUSTER), str(target))
    assert target.read_bytes() == compiled.COMPILED.read_bytes()


def test_custom_resources_hold_the_same_graph(tmp_path: Path, documents: list[dict]):
    file = tmp_path / "gitops" / "pipeline.yaml"
    compiled.write_manifests(file, "team-a")
    pipeline, version = yaml.safe_load_all(file.read_text(encoding="utf-8"))
    assert (pipeline["kind"], version["kind"]) == ("Pipeline", "PipelineVersion")
    assert pipeline["apiVersion"] == version["apiVersion"] == "pipelines.kubeflow.org/v2beta1"
    assert pipeline["metadata"]["namespace"] == version["metadata"]["namespace"] == "team-a"
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"] == retraining.name
    assert version["metadata"]["name"] == f"{retraining.name}-{compiled.digest(compiled.current())}"
    assert [version["spec"]["pipelineSpec"], version["spec"]["platformSpec"]] == documents
    with pytest.raises(UserError, match="yaml"):
        compiled.write_manifests(tmp_path / "pipeline.json", "team-a")


def test_trainers_own_models_accept_the_train_job(tmp_path: Path):
    (tmp_path / "cluster.yaml").write_text(
        "gpu: {nodes: 3, count: 8, labels: {kueue.x-k8s.io/queue-name: training, team: color},"
        " node_selector: {pool: h100}, affinity: [{key: zone, operator: In, values: [a]}]}",
        encoding="utf-8",
    )
    made = json.dumps(train_job(load_cluster(tmp_path / "cluster.yaml")))
    read = TrainerV1alpha1TrainJob.from_json(made)
    assert json.loads(read.to_json()) == json.loads(made)  # they would drop unknown fields
