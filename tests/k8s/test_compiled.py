"""Tests of k8s.check's rules for the compiled pipeline: what it needs in the namespace of its runs, and how much."""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from k8s.check import compiled, pipeline, policies, quota, roles, schemas, wiring
from k8s.check.__main__ import check
from k8s.check.compiled import Compiled
from k8s.check.manifests import ROOT, Manifests, render_with
from pipeline.cli.main import app
from pipeline.compile import to_yaml, write_manifests
from pipeline.place import SETTINGS
from tests.k8s.test_check import container, get


def one_step(settings: dict[str, Any], memory: str = "1Gi") -> Compiled:
    """Returns a pipeline of one step."""
    container = {"image": "a", "resources": {"resourceMemoryLimit": memory}}
    task = {"componentRef": {"name": "comp-train"}}
    spec = {
        "deploymentSpec": {"executors": {"exec-train": {"container": container}}},
        "components": {"comp-train": {"executorLabel": "exec-train"}},
        "root": {"dag": {"tasks": {"train": task}}},
    }
    return Compiled("retraining.yaml", spec, {"exec-train": settings})


def config_map(name: str, *keys: str, optional: bool = False) -> dict[str, Any]:
    read = [*(key for key in SETTINGS if key != "AWS_ENDPOINT_URL_S3"), *keys]  # production has no such key
    pairs = [{"configMapKey": key, "envVar": key} for key in read]
    return {"configMapAsEnv": [{"configMapName": name, "keyToEnv": pairs, "optional": optional}]}


@pytest.mark.parametrize(
    ("settings", "memory", "said"),
    [
        (config_map("colorizer"), "1Gi", ""),
        (config_map("colourizer"), "1Gi", "no ConfigMap colourizer in colorizer"),
        (config_map("colorizer", "AWS_REGION"), "1Gi", "has no key AWS_REGION"),
        (config_map("colorizer", "AWS_REGION", optional=True), "1Gi", ""),
        ({"secretAsEnv": [{"secretName": "colorizer-s3", "keyToEnv": [{"secretKey": "KEY"}]}]}, "1Gi", "a key KEY"),
        ({"podMetadata": {"labels": {pipeline.QUEUE: "gpus"}}}, "1Gi", "no LocalQueue gpus"),
        ({"podMetadata": {"labels": {pipeline.QUEUE: "colorizer-training"}}}, "1Gi", ""),
        ({"emptyDirMounts": [{"mountPath": "/tmp", "sizeLimit": "20Gi"}]}, "1Gi", ""),
        ({"emptyDirMounts": [{"mountPath": "/tmp", "sizeLimit": "30Gi"}]}, "1Gi", "above the default limit"),
        ({"emptyDirMounts": [{"medium": "Memory", "mountPath": "/dev/shm", "sizeLimit": "30Gi"}]}, "1Gi", ""),
        ({}, "64Gi", "above the max"),
    ],
)
def test_objects_and_limits_that_the_pipeline_needs_are_checked(
    rendered: dict[str, Manifests], settings: dict, memory: str, said: str
):
    manifests = replace(rendered["production"], pipeline=one_step(settings, memory))
    found = [str(each) for each in pipeline.steps(manifests)]
    assert len(found) == bool(said)
    assert said in "".join(found)


def for_settings(tmp_path: Path, text: str) -> Compiled:
    """Compiles the pipeline for a cluster's settings."""
    (tmp_path / "cluster.yaml").write_text(text, encoding="utf-8")
    return compiled.parse(to_yaml(tmp_path / "cluster.yaml"), "cluster.yaml")


def test_a_run_on_spot_nodes_passes_and_its_queue_must_have_room(
    rendered: dict[str, Manifests], pipelines: dict[str, Compiled]
):
    manifests = replace(copy.deepcopy(rendered["production"]), pipeline=pipelines["spot"])
    assert check(manifests) == []
    queue = get(manifests, "ClusterQueue", "colorizer")["spec"]
    selector, queue["namespaceSelector"] = queue["namespaceSelector"], {"matchLabels": {"team": "vision"}}
    assert ["admits no pods of colorizer" in str(each) for each in pipeline.steps(manifests)] == [True]
    queue["namespaceSelector"] = selector
    group = get(manifests, "ClusterQueue", "colorizer")["spec"]["resourceGroups"][0]
    group["flavors"][0]["resources"] = [
        each for each in group["flavors"][0]["resources"] if each["name"] != "nvidia.com/gpu"
    ]
    assert ["has no nvidia.com/gpu" in str(each) for each in pipeline.steps(manifests)] == [True]


def test_the_quota_counts_a_part_of_a_gpu_by_its_own_name(rendered: dict[str, Manifests], tmp_path: Path):
    settings = "{gpu: {resource: nvidia.com/mig-3g.40gb, count: 2}, variants: 3}"
    manifests = replace(copy.deepcopy(rendered["production"]), pipeline=for_settings(tmp_path, settings))
    hard = get(manifests, "ResourceQuota", "colorizer")["spec"]["hard"]
    hard.update({"limits.memory": "256Gi", "requests.memory": "128Gi", "requests.cpu": "32", "limits.cpu": "64"})
    (found,) = quota.quota(manifests)
    assert "does not count requests.nvidia.com/mig-3g.40gb, of which a run asks for 6" in str(found)
    hard["requests.nvidia.com/mig-3g.40gb"] = "6"
    assert not list(quota.quota(manifests))


def test_a_parameter_of_another_type_than_its_task_declares_is_refused(
    rendered: dict[str, Manifests], pipelines: dict[str, Compiled]
):
    manifests = replace(rendered["production"], pipeline=copy.deepcopy(pipelines["spot"]))
    assert not list(wiring.types(manifests))
    components = manifests.pipeline.spec["components"]
    (loop,) = [
        parameter
        for component in components.values()
        for name, parameter in component.get("inputDefinitions", {}).get("parameters", {}).items()
        if name.endswith("settled-loop-item") and parameter["parameterType"] == "STRUCT"
    ]
    loop["parameterType"] = "STRING"
    found = sorted(map(str, wiring.types(manifests)))
    assert ["dag.tasks.evaluate" in found[0], "dag.tasks.train" in found[1]] == [True, True]
    assert all("declares STRUCT, and gets STRING" in each for each in found)
    components["comp-partition"]["outputDefinitions"]["parameters"]["Output"]["parameterType"] = "NUMBER_DOUBLE"
    assert len(list(wiring.types(manifests))) == 3


def test_more_partitions_or_variants_need_more_quota(rendered: dict[str, Manifests], tmp_path: Path):
    for settings, key in (("partitions: 5", "limits.cpu"), ("variants: 3", "limits.memory")):
        found = map(str, quota.quota(replace(rendered["production"], pipeline=for_settings(tmp_path, settings))))
        assert any(f"spec.hard.{key}: " in line for line in found), settings


def test_a_laptop_has_room_for_the_local_overlay_and_its_settings_but_not_for_the_defaults(
    rendered: dict[str, Manifests], pipelines: dict[str, Compiled]
):
    assert not list(quota.laptop(rendered["local"]))
    found = [str(each) for each in quota.laptop(replace(rendered["local"], pipeline=pipelines["default"]))]
    assert any("requests.cpu" in line and "do not fit 4; lower requests" in line for line in found)
    assert any("nvidia.com/gpu: a run asks for it; set gpu.count: 0" in line for line in found)


def test_a_policy_of_cilium_selects_the_steps(pipelines: dict[str, Compiled]):
    rendered = render_with(ROOT / "k8s" / "overlays" / "production", "cilium")
    manifests = replace(rendered, pipeline=pipelines["default"])
    assert not list(policies.selected(manifests))
    labels = get(manifests, "CiliumNetworkPolicy", "steps")["spec"]["endpointSelector"]["matchLabels"]
    labels["app.kubernetes.io/name"] = "colorizer-stop"
    assert [each.path for each in policies.selected(manifests)] == ["spec.endpointSelector"]


def test_the_runs_of_a_cluster_without_profiles_are_looked_up_in_kubeflows_namespace(rendered: dict[str, Manifests]):
    manifests = copy.deepcopy(rendered["local"])
    (there,) = manifests.of_namespace("ConfigMap", "kubeflow")
    manifests.objects.remove(there)
    found = [str(each) for each in pipeline.steps(manifests)]
    assert found
    assert all("k8s/overlays/local has no ConfigMap colorizer in kubeflow" in line for line in found)


def test_kserve_runs_the_image_and_the_command_of_the_web_server(pipelines: dict[str, Compiled]):
    rendered = render_with(ROOT / "k8s" / "overlays" / "production", "kserve")
    manifests = replace(rendered, pipeline=pipelines["default"])
    assert [str(each) for each in check(manifests)] == []
    (served,) = get(manifests, "InferenceService", "colorizer")["spec"]["predictor"]["containers"]
    assert served["image"] == container(manifests, name="colorizer-web")["image"]
    program, name, *arguments = served["command"]
    assert program == "colorize"
    web = get_command(app).commands[name].make_context(name, arguments)  # type: ignore[attr-defined]
    assert web.params["model"] == Path("/mnt/models")

    served["imagePulPolicy"] = "Always"
    assert any("imagePulPolicy" in str(each) for each in check(manifests))


def broken(whole: Compiled, change: Callable[[Any], object]) -> Compiled:
    """Returns a pipeline with a changed TrainJob."""
    executors = copy.deepcopy(whole.executors)
    annotations = executors["exec-train"]["podMetadata"]["annotations"]
    ((key, value),) = annotations.items()
    made = json.loads(value)
    change(made)
    annotations[key] = json.dumps(made)
    return replace(whole, executors=executors)


def patched_pod(made: Any) -> Any:
    (patch,) = made["spec"]["runtimePatches"]
    (nodes,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    return nodes["template"]["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda made: made["spec"].update(podTemplateOverrides=[]), "podTemplateOverrides"),  # of Trainer 2.1
        (lambda made: made["spec"]["trainer"].update(numProcPerNode="auto"), "'auto' is not of type 'integer'"),
        (lambda made: made["spec"]["trainer"]["env"].append({"name": "PET_NNODES"}), "PET_NNODES"),
        (lambda made: patched_pod(made).update(runtimeClassName="nvidia"), "runtimeClassName"),
        (lambda made: patched_pod(made)["containers"][0].update(env=[]), "env"),
        (lambda made: patched_pod(made)["containers"][0].pop("securityContext"), "set "),
        (lambda made: patched_pod(made)["tolerations"][0].update(effct="NoSchedule"), "effct"),
        (lambda made: patched_pod(made)["volumes"][0]["emptyDir"].update(sizeLimit={}), "sizeLimit"),
        (lambda made: made["spec"]["trainer"]["resourcesPerNode"].update(limit={}), "limit"),
    ],
)
def test_a_train_job_is_checked_with_the_schemas_of_trainer_and_of_kubernetes_pods(
    rendered: dict[str, Manifests], pipelines: dict[str, Compiled], fault: Callable[[Any], object], said: str
):
    changed = replace(rendered["trainer"], pipeline=broken(pipelines["trainer"], fault))
    found = [str(each) for each in pipeline.steps(changed)]
    assert found
    assert all(said in line for line in found)


def test_a_train_job_needs_the_trainer_component(rendered: dict[str, Manifests], pipelines: dict[str, Compiled]):
    found = [str(each) for each in roles.needed(replace(rendered["production"], pipeline=pipelines["trainer"]))]
    assert found
    assert all("components/train/trainjob needs " in line for line in found)
    assert all(line.endswith("; add k8s/components/trainer to the overlay") for line in found)


def test_the_rights_of_a_train_job_are_those_that_its_code_calls():
    """Kubernetes is called from one module alone, through one method and two calls of the core API."""
    calling = [path for path in (ROOT / "components").rglob("*.py") if "from kubernetes import" in path.read_text()]
    (module,) = calling
    text = module.read_text()
    called = {("trainjobs", verb) for verb in re.findall(r'_call\("(\w+)"', text)}
    called |= {("pods", "list")} if "list_namespaced_pod(" in text else set()
    called |= {("pods/log", "get")} if "read_namespaced_pod_log(" in text else set()
    assert len(re.findall(r"_namespaced_\w+", text)) == 3
    assert called == {(calls.resource, verb) for calls in roles.TRAIN_JOBS for verb in calls.verbs}


def test_pipelines_as_custom_resources_match_their_schemas(tmp_path: Path):
    write_manifests(tmp_path / "it.yaml", "colorizer")
    resources = list(yaml.safe_load_all((tmp_path / "it.yaml").read_text()))
    assert {each["kind"] for each in resources} == {"Pipeline", "PipelineVersion"}
    assert not list(schemas.findings(Manifests("it.yaml", resources)))
    resources[-1]["spec"].pop("pipelineSpec")
    assert list(schemas.findings(Manifests("it.yaml", resources)))
