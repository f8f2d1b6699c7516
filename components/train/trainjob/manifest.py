"""Manifest of the TrainJob (Kubeflow Trainer 2.3): the graph makes a template, the step fills in the rest."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from components.train.environment import POD

_GROUP = "trainer.kubeflow.org"
_KUEUE = "kueue.x-k8s.io/"
_RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}  # what Pod Security asks for
_LABELS = {
    "app.kubernetes.io/name": "colorizer-train",
    "app.kubernetes.io/part-of": "colorizer",
}  # for network policies
_RESTARTS = 3  # of the processes of a node by torchrun; then the pod fails, and Kubernetes starts that again
_STORE = {"name": "TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "value": "1"}  # see components/train/torchrun.py


def template(
    image: str,
    gpu: Mapping[str, Any],
    resources: Mapping[str, Any],
    deadline: int,
    settings: Sequence[str],
    secrets: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Returns the TrainJob without what only the step knows: name, owner, account, arguments.

    Args:
        image: of each node.
        gpu: section `gpu` of the cluster settings.
        resources: of each node: `cpu` and `memory` as pairs of request and limit, and `scratch`.
        deadline: seconds until the job fails.
        settings: optional keys of the ConfigMap `colorizer`, for the environment.
        secrets: optional keys of each Secret, for the environment.
    """
    requests, limits = (
        {"cpu": cpu, "memory": memory, gpu["resource"]: str(gpu["count"])}
        for cpu, memory in zip(resources["cpu"], resources["memory"], strict=True)
    )
    replicas = {"name": "node", **_template(template=_pod(gpu, resources["scratch"]))}
    return {
        "apiVersion": f"{_GROUP}/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"labels": gpu["labels"]},
        "spec": {
            "runtimeRef": {"apiGroup": _GROUP, "kind": "ClusterTrainingRuntime", "name": "torch-distributed"},
            "activeDeadlineSeconds": deadline,
            "trainer": {
                "image": image,
                "command": ["python3", "-m", "torch.distributed.run"],
                "numNodes": gpu["nodes"],
                "numProcPerNode": gpu["count"],
                "resourcesPerNode": {"requests": requests, "limits": limits},
                "env": [
                    *(_variable("configMapKeyRef", "colorizer", key) for key in settings),
                    *(_variable("secretKeyRef", secret, key) for secret, keys in secrets.items() for key in keys),
                ],
            },
            "runtimePatches": [
                {"manager": "colorizer/pipeline", "trainingRuntimeSpec": _template(replicatedJobs=[replicas])}
            ],
        },
    }


def _pod(gpu: Mapping[str, Any], scratch: str) -> dict[str, Any]:
    shared_memory = {"medium": "Memory", "sizeLimit": gpu["shared_memory"]}
    mounts = [{"name": "scratch", "mountPath": "/tmp"}, {"name": "shared-memory", "mountPath": "/dev/shm"}]
    terms = {"nodeSelectorTerms": [{"matchExpressions": gpu["affinity"]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    labels = {key: value for key, value in gpu["labels"].items() if not key.startswith(_KUEUE)}  # Kueue queues the job
    return {
        "metadata": {"labels": labels | _LABELS, "annotations": gpu["annotations"]},
        "spec": {
            "nodeSelector": gpu["node_selector"],
            **({"affinity": affinity} if gpu["affinity"] else {}),
            "tolerations": [{key: value for key, value in each.items() if value} for each in gpu["tolerations"]],
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "terminationGracePeriodSeconds": 60,  # torchrun gives its processes 30
            "volumes": [
                {"name": "scratch", "emptyDir": {"sizeLimit": scratch}},
                {"name": "shared-memory", "emptyDir": shared_memory},
            ],
            "containers": [{"name": "node", "volumeMounts": mounts, "securityContext": _RESTRICTED}],
        },
    }


def _template(**spec: Any) -> dict[str, Any]:
    return {"template": {"spec": spec}}


def _variable(kind: str, source: str, key: str) -> dict[str, Any]:
    return {"name": key, "valueFrom": {kind: {"name": source, "key": key, "optional": True}}}


def fill(manifest: dict[str, Any], name: str, nodes: str, work: dict[str, Any], environment: dict[str, str]) -> None:
    """Adds to a template what only the step knows: the job's name, its nodes ("1:2"), the worker's arguments."""
    pod, uid, _, account = (os.environ[variable] for variable in POD)
    owner = {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}  # the job is deleted with the step's pod
    manifest["metadata"] |= {"name": name, "ownerReferences": [owner]}
    trainer = manifest["spec"]["trainer"]
    trainer["args"] = [
        f"--nnodes={nodes}",
        f"--max-restarts={_RESTARTS}",
        "--rdzv-backend=c10d",
        f"--rdzv-id={name}",
        "--rdzv-endpoint=$(PET_MASTER_ADDR):$(PET_MASTER_PORT)",  # Kubernetes expands both; Trainer sets them
        "--module",
        "components.train.worker",
        json.dumps(work).replace("$", "$$"),
    ]
    trainer["env"] += [_STORE, *({"name": key, "value": value} for key, value in environment.items())]
    (patch,) = manifest["spec"]["runtimePatches"]
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    job["template"]["spec"]["template"]["spec"]["serviceAccountName"] = account
