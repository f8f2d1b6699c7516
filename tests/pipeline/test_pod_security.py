"""Tests that a namespace which enforces Pod Security's profile `restricted` takes the pods of a run.

A pod of a step comes from three hands. Of Kubeflow Pipelines 2.17.0, `argocompiler/security_context.go` hardens the
template of a step: seccomp at the pod, no escalation and no capabilities for the container `main`, and the same with
runAsNonRoot for its own container `kfp-launcher`. `driver/k8s.go` patches `main` with runAsNonRoot, runAsUser and the
volumes of the compiled pipeline. Argo 4.0.8 adds the containers `init` and `wait`, which get the securityContext of
Kubeflow's `workflow-controller-configmap`. `main` is not hardened with runAsNonRoot: that is the pipeline's part. Pods
of drivers hold nothing of the pipeline's, and all three hands harden them.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import compile as compiled
from tests.support.tiny import ROOT

Object = dict[str, Any]
HARDENED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
OWN = HARDENED | {"runAsNonRoot": True}
"""Rights of Kubeflow's and Argo's containers."""
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def pod_of(settings: Object) -> Object:
    """Returns the pod that Kubeflow and Argo make of a step's compiled settings, as far as `restricted` looks at it."""
    main = {"name": "main", "securityContext": HARDENED | settings.get("securityContext", {})}
    scratch = [{"name": each["volumeName"], "emptyDir": {}} for each in settings.get("emptyDirMounts", [])]
    return {
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [{"name": name, "securityContext": OWN} for name in ("init", "kfp-launcher")],
        "containers": [{"name": "wait", "securityContext": OWN}, main],
        "volumes": [{"name": "kfp-launcher", "emptyDir": {}}, *scratch],
    }


def refusals(pod: Object) -> list[str]:
    """Returns what `restricted` refuses (kubernetes.io/docs/concepts/security/pod-security-standards)."""
    above = pod.get("securityContext", {})
    found = [
        f"{key} is shared with the node" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)
    ]  # fmt: skip
    found += [f"volume {each['name']}" for each in pod.get("volumes", []) if not VOLUMES & each.keys()]
    for container in pod.get("initContainers", []) + pod["containers"]:
        own = container.get("securityContext", {})
        both = above | own
        capabilities = own.get("capabilities", {})
        holds = {
            "runAsNonRoot": both.get("runAsNonRoot") is True,
            "runAsUser": both.get("runAsUser") != 0,
            "seccompProfile": both.get("seccompProfile", {}).get("type") in ("RuntimeDefault", "Localhost"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False and not own.get("privileged"),
            "capabilities": "ALL" in capabilities.get("drop", [])
            and set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
            "hostPorts": not any(port.get("hostPort") for port in container.get("ports", [])),
        }
        found += [f"{container['name']}: {rule}" for rule, held in holds.items() if not held]
    return found


def pods(text: str) -> Iterator[tuple[str, Object]]:
    """Yields the pods of a compiled pipeline: of each step, and of the nodes of a TrainJob."""
    _, platform = yaml.safe_load_all(text)
    for name, settings in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].items():
        yield name, pod_of(settings)
        for value in settings.get("podMetadata", {}).get("annotations", {}).values():
            if value.startswith("{"):
                (patch,) = json.loads(value)["spec"]["runtimePatches"]
                (node,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
                yield f"{name}: node", node["template"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("settings", ["{}", "gpu: {nodes: 2}", "gpu: {count: 0}"])
def test_restricted_takes_every_pod_of_a_run(tmp_path: Path, settings: str) -> None:
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text(settings, encoding="utf-8")
    found = dict(pods(compiled.to_yaml(cluster)))
    assert len(found) == (12 if "nodes" in settings else 11)
    assert {name: refusals(pod) for name, pod in found.items() if refusals(pod)} == {}


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({}, ["main: runAsNonRoot"]),
        ({"securityContext": {"runAsNonRoot": False}}, ["main: runAsNonRoot"]),
        ({"securityContext": {"runAsNonRoot": True, "runAsUser": 0}}, ["main: runAsUser"]),
    ],
)
def test_restricted_refuses_what_kubeflow_does_not_mend(settings: Object, refused: list[str]) -> None:
    assert refusals(pod_of(settings)) == refused


def test_every_image_has_a_user_by_number_for_the_kubelet_cannot_tell_whether_a_name_is_root() -> None:
    stages = (ROOT / "components" / "images" / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")[1:]
    last = {
        stage.split()[2]: re.findall(r"^USER (\S+)", stage, re.MULTILINE)[-1:] for stage in stages if "USER" in stage
    }
    assert last.keys() >= {"gpu", "cpu", "serving"}
    assert all(user and re.fullmatch(r"[1-9]\d*:[1-9]\d*", user[0]) for user in last.values()), last
