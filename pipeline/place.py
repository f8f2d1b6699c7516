"""Gives the pod of each step what it needs on a cluster: resources, GPU, environment, retries, caching.

No run id is a step's argument: it travels in the environment, which is no part of Kubeflow's cache key.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl.pipeline_context import Pipeline
from kubernetes.utils.quantity import parse_quantity

from components.images.names import CPU_IMAGE, GPU_IMAGE
from components.shared.machine.pipeline_run import RUN_ID
from components.shared.machine.workspace import SHARD_CACHE
from components.train.environment import POD, PROCESSES, RETRIES, TRAINJOB
from components.train.trainjob import manifest
from model.utils.errors import UserError
from pipeline.cluster.settings import DEFAULT, STREAMING, Cluster, Gpu, Resources, Retry

SETTINGS = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD",
    "AWS_ENDPOINT_URL_S3",
    "AWS_DEFAULT_REGION",
)
"""Keys of the ConfigMap `colorizer` that every step finds in its environment."""

LINKS = ("COLORIZE_KFP_UI", "COLORIZE_MLFLOW_UI", "COLORIZE_KFP_API")
"""Keys of the same ConfigMap that the exit task alone finds."""

SECRETS = {
    "colorizer-s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "colorizer-mlflow": ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
}
"""Secrets and their keys that every step finds in its environment."""

STEP_LABELS = {"app.kubernetes.io/name": "colorizer-step", "app.kubernetes.io/part-of": "colorizer"}
"""Labels of every step's pod, by which the network policies select it. Kubeflow's drivers do not get them."""

WEBHOOK = {"colorizer-webhook": ("COLORIZE_WEBHOOK_URL",)}
"""Secret that the exit task alone finds."""

_RETRIED = ("train", "preprocess")


def reuse() -> None:
    """Decides for every task of the pipeline that is being built whether its outputs are reused.

    A cache must be keyed on the hash of a step's code. A step that takes none looks at names that move, acts on the
    registry, or tells people: cached, it would be blind or silent.
    """
    for task in _tasks().values():
        task.set_caching_options("code" in task.component_spec.inputs)


def place(cluster: Cluster) -> None:
    """Places every task of the pipeline that is being built.

    Raises:
        UserError: the settings name a step that the graph does not have.
    """
    tasks = _tasks()
    if unknown := sorted(cluster.steps.keys() - tasks.keys() - {DEFAULT}):
        raise UserError(f"steps.{unknown[0]} is no step of the graph; there are: {', '.join(sorted(tasks))}.")
    for name, task in tasks.items():
        on_gpu = task.container_spec.image == GPU_IMAGE
        several_nodes = on_gpu and cluster.gpu.nodes > 1
        _give(task, cluster.resources(DEFAULT if several_nodes else name))  # the pods of a TrainJob ask for the rest
        if on_gpu:
            for key, value in cluster.gpu.annotations.items():
                kubernetes.add_pod_annotation(task, key, value)
        if several_nodes:
            _start_train_job(task, cluster)
        elif on_gpu:
            _place_on_gpu(task, cluster.gpu)
        if name in STREAMING:
            task.set_env_variable(SHARD_CACHE, str(int(parse_quantity(cluster.shards.cache))))
        if name in _RETRIED:
            _retry(task, cluster.retry)
        else:
            kubernetes.set_timeout(task, cluster.deadline.report if name == "report" else cluster.deadline.step)
    if cluster.gpu.nodes == 1:  # torchrun itself restarts the processes of a TrainJob
        _annotate(tasks["train"], RETRIES, str(cluster.retry.limit))
    _environment(tasks["report"], LINKS, WEBHOOK)


def _tasks() -> Mapping[str, dsl.PipelineTask]:
    tasks: dict[str, dsl.PipelineTask] = Pipeline.get_default_pipeline().tasks
    return tasks


def _give(task: dsl.PipelineTask, needs: Resources) -> None:
    """Gives a pod its resources and environment. All that the namespace holds is optional: a bare one runs it too."""
    task.set_cpu_request(needs.cpu[0]).set_cpu_limit(needs.cpu[1])
    task.set_memory_request(needs.memory[0]).set_memory_limit(needs.memory[1])
    kubernetes.empty_dir_mount(task, "scratch", "/tmp", size_limit=needs.scratch)  # the image's root may be read-only
    kubernetes.set_security_context(task, run_as_non_root=True)
    kubernetes.use_field_path_as_env(task, RUN_ID, "metadata.labels['pipeline/runid']")
    for key, value in STEP_LABELS.items():
        kubernetes.add_pod_label(task, key, value)
    _environment(task, SETTINGS, SECRETS)


def _environment(task: dsl.PipelineTask, settings: Sequence[str], secrets: Mapping[str, Sequence[str]]) -> None:
    kubernetes.use_config_map_as_env(task, "colorizer", {key: key for key in settings}, optional=True)
    for secret, keys in secrets.items():
        kubernetes.use_secret_as_env(task, secret, {key: key for key in keys}, optional=True)


def _start_train_job(task: dsl.PipelineTask, cluster: Cluster) -> None:
    """Has a pod without a GPU make a TrainJob on several nodes and look after it."""
    _annotate(task, TRAINJOB, json.dumps(train_job(cluster), sort_keys=True))
    for variable, field in POD.items():
        kubernetes.use_field_path_as_env(task, variable, field)


def train_job(cluster: Cluster) -> dict[str, Any]:
    """Returns the TrainJob that trains on several nodes, without what only the step knows."""
    resources = cluster.resources("train").model_dump()
    return manifest.template(GPU_IMAGE, cluster.gpu.model_dump(), resources, cluster.retry.timeout, SETTINGS, SECRETS)


def _place_on_gpu(task: dsl.PipelineTask, gpu: Gpu) -> None:
    if gpu.count:
        task.set_accelerator_type(gpu.resource).set_accelerator_limit(gpu.count)
    else:
        task.set_container_image(CPU_IMAGE)  # holds all that train imports, and is smaller
    if gpu.count > 1:
        _annotate(task, PROCESSES, str(gpu.count))
    for key, value in gpu.labels.items():
        kubernetes.add_pod_label(task, key, value)
    for key, value in gpu.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    if gpu.affinity:
        kubernetes.add_node_affinity(task, [requirement.model_dump() for requirement in gpu.affinity])
    for toleration in gpu.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
    kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", medium="Memory", size_limit=gpu.shared_memory)


def _annotate(task: dsl.PipelineTask, variable: str, value: str) -> None:
    """Sets an environment variable through an annotation: a laptop and Kubeflow's cache key do not see it."""
    key = f"colorizer/{variable.lower().replace('_', '-')}"
    kubernetes.add_pod_annotation(task, key, value)
    kubernetes.use_field_path_as_env(task, variable, f"metadata.annotations['{key}']")


def _retry(task: dsl.PipelineTask, retry: Retry) -> None:
    kubernetes.set_timeout(task, retry.timeout)
    task.set_retry(
        retry.limit,
        backoff_duration=f"{retry.backoff}s",
        backoff_factor=2,
        backoff_max_duration=f"{retry.window}s",
    )
