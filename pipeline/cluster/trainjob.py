"""The TrainJob of Kubeflow Trainer (2.3) that trains on several nodes, as far as it is known beforehand.

The step fills in its name, its owner, its account and its arguments (components/train/trainjob/attempt.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from components.images.names import GPU_IMAGE
from pipeline.cluster.settings import Cluster

LABEL = {"colorizer/trains": "true"}
"""The pods': by it the network policies of k8s/components/trainer know them."""

_KUEUE = "kueue.x-k8s.io/"


def train_job(cluster: Cluster, settings: Sequence[str], secrets: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """
    Args:
        cluster: its `gpu` and `attempts`, and what `steps.train` asks for, per node.
        settings: keys of the ConfigMap `colorizer` for the environment; may be missing there.
        secrets: Secrets and their keys for the environment; may be missing too.
    """
    gpu, needs = cluster.gpu, cluster.steps["train"]
    asked = [{"cpu": cpu, "memory": memory} for cpu, memory in zip(needs.cpu, needs.memory, strict=True)]
    volumes = {
        "scratch": {"emptyDir": {"sizeLimit": needs.scratch}},
        "shared-memory": {"emptyDir": {"medium": "Memory", "sizeLimit": gpu.shared_memory}},
    }
    requirements = [requirement.model_dump() for requirement in gpu.affinity]
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": requirements}]
            }
        }
    }
    pod = {
        "metadata": {
            # Kueue takes the job as a whole, not pod by pod.
            "labels": LABEL | {key: value for key, value in gpu.labels.items() if not key.startswith(_KUEUE)}
        },
        "spec": {
            "nodeSelector": gpu.node_selector,
            **({"affinity": affinity} if requirements else {}),
            "tolerations": [_without_empty(toleration.model_dump()) for toleration in gpu.tolerations],
            "securityContext": {"runAsNonRoot": True},
            "terminationGracePeriodSeconds": 60,  # torchrun gives its processes 30
            "volumes": [{"name": volume, **source} for volume, source in volumes.items()],
            "containers": [
                {
                    "name": "node",
                    "volumeMounts": [
                        {"name": "scratch", "mountPath": "/tmp"},
                        {"name": "shared-memory", "mountPath": "/dev/shm"},
                    ],
                }
            ],
        },
    }
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"labels": gpu.labels},
        "spec": {
            "runtimeRef": {
                "apiGroup": "trainer.kubeflow.org",
                "kind": "ClusterTrainingRuntime",
                "name": "torch-distributed",
            },
            "activeDeadlineSeconds": cluster.attempts.seconds,
            "trainer": {
                "image": GPU_IMAGE,
                "command": ["python3", "-m", "components.train.trainjob.node"],
                "numNodes": gpu.nodes,
                "numProcPerNode": gpu.count,
                "resourcesPerNode": {
                    "requests": asked[0] | {gpu.resource: str(gpu.count)},
                    "limits": asked[1] | {gpu.resource: str(gpu.count)},
                },
                "env": [
                    *(_variable("configMapKeyRef", "colorizer", key) for key in settings),
                    *(_variable("secretKeyRef", secret, key) for secret, keys in secrets.items() for key in keys),
                ],
            },
            "runtimePatches": [
                {
                    "manager": "colorizer/pipeline",
                    "trainingRuntimeSpec": {
                        "template": {
                            "spec": {"replicatedJobs": [{"name": "node", "template": {"spec": {"template": pod}}}]}
                        }
                    },
                }
            ],
        },
    }


def _variable(kind: str, source: str, key: str) -> dict[str, Any]:
    return {"name": key, "valueFrom": {kind: {"name": source, "key": key, "optional": True}}}


def _without_empty(values: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if value}
