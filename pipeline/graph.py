"""The retraining graph: resolve, preprocess in parts, inspect, train, evaluate, register, gate, promote; then report.

One definition for the laptop and the cluster. No run id goes into a step that should be cached: it travels in the
environment, which is no part of Kubeflow's cache key.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kfp import dsl, kubernetes
from kfp.dsl.graph_component import GraphComponent
from kfp.dsl.pipeline_channel import PipelineChannel
from kubernetes.utils.quantity import parse_quantity

from components.evaluate.component import evaluate
from components.inspect.component import inspect
from components.preprocess.component import merge, partition, preprocess
from components.register.component import gate, promote, register, reject
from components.report.component import report_outcome
from components.resolve.component import resolve
from components.shared.machine.workspace import SHARD_CACHE
from components.shared.mlflow.tree import RUN_ID
from components.train.component import train
from components.train.environment import POD, PROCESSES, TRAINJOB
from components.train.trainjob import manifest
from pipeline.arguments import CACHED_STEPS
from pipeline.cluster.settings import STREAMING, Attempts, Cluster, Gpu, Resources, Step, load_cluster

SETTINGS = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION")
"""Keys of the ConfigMap `colorizer` that every step finds in its environment."""

LINKS = ("COLORIZE_KFP_UI", "COLORIZE_MLFLOW_UI")
"""Keys of the same that the exit task alone has use for."""

SECRETS = {
    "colorizer-s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "colorizer-mlflow": ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
}
"""Secrets and their keys that every step finds in its environment."""

WEBHOOK = {"colorizer-webhook": ("COLORIZE_WEBHOOK_URL",)}
"""The exit task's alone."""


def _place(task: dsl.PipelineTask, needs: Resources) -> None:
    """What every step's pod has. All it takes from the namespace is optional, so that a bare one runs the graph too."""
    task.set_cpu_request(needs.cpu[0]).set_cpu_limit(needs.cpu[1])
    task.set_memory_request(needs.memory[0]).set_memory_limit(needs.memory[1])
    kubernetes.empty_dir_mount(task, "scratch", "/tmp", size_limit=needs.scratch)  # the image's root may be read-only
    kubernetes.set_security_context(task, run_as_non_root=True)
    kubernetes.use_field_path_as_env(task, RUN_ID, "metadata.labels['pipeline/runid']")
    _environment(task, SETTINGS, SECRETS)


def _environment(task: dsl.PipelineTask, settings: Sequence[str], secrets: Mapping[str, Sequence[str]]) -> None:
    kubernetes.use_config_map_as_env(task, "colorizer", {key: key for key in settings}, optional=True)
    for secret, keys in secrets.items():
        kubernetes.use_secret_as_env(task, secret, {key: key for key in keys}, optional=True)


def _place_training(task: dsl.PipelineTask, cluster: Cluster) -> None:
    """On a GPU node, as often as it takes; or as a TrainJob on several, which a pod without a GPU looks after."""
    gpu = cluster.gpu
    if gpu.nodes > 1:
        _annotate(task, TRAINJOB, json.dumps(train_job(cluster), sort_keys=True))
        for variable, field in POD.items():
            kubernetes.use_field_path_as_env(task, variable, field)
    else:
        _place_on_gpu(task, gpu)
    _again(task, cluster.attempts)


def train_job(cluster: Cluster) -> dict[str, Any]:
    """Returns the TrainJob that trains on several nodes, without what only the step knows."""
    resources = cluster.steps["train"].model_dump()
    return manifest.template(cluster.gpu.model_dump(), resources, cluster.attempts.seconds, SETTINGS, SECRETS)


def _place_on_gpu(task: dsl.PipelineTask, gpu: Gpu) -> None:
    task.set_accelerator_type(gpu.resource).set_accelerator_limit(gpu.count)
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
    """Sets an environment variable by way of an annotation: on a laptop, and in Kubeflow's cache key, it is none."""
    key = f"colorizer/{variable.lower().replace('_', '-')}"
    kubernetes.add_pod_annotation(task, key, value)
    kubernetes.use_field_path_as_env(task, variable, f"metadata.annotations['{key}']")


def _again(task: dsl.PipelineTask, attempts: Attempts) -> None:
    kubernetes.set_timeout(task, attempts.seconds)
    task.set_retry(
        attempts.retries,
        backoff_duration=f"{attempts.pause}s",
        backoff_factor=2,
        backoff_max_duration=f"{attempts.window}s",
    )


def in_parts(
    photos: str, data_version: str, partitions: int, config: dict, code: str, store: str, publish: str
) -> dict[Step, dsl.PipelineTask]:
    """The tasks that make a dataset of photographs: the output `dataset` of merge."""
    listed = partition(
        photos=photos, data_version=data_version, partitions=partitions, config=config, code=code, store=store
    )
    listing = listed.outputs["listing"]
    with dsl.ParallelFor(listed.outputs["Output"], name="partitions") as number:
        part = preprocess(photos=photos, listing=listing, number=number, config=config, code=code, store=store)
    merged = merge(
        photos=photos,
        data_version=data_version,
        listing=listing,
        parts=dsl.Collected(part.outputs["part"]),
        config=config,
        code=code,
        publish=publish,
    )
    return {"partition": listed, "preprocess": part, "merge": merged}


def prepare(
    photos: str,
    settled: dsl.PipelineTask,
    partitions: int,
    configs: tuple[dict, dict],
    codes: tuple[str, str],
    store: str,
    publish: str,
) -> dict[Step, dsl.PipelineTask]:
    """The photographs that `resolve` has settled on to a dataset that is inspected; configs and codes of preprocess and
    inspect, in this order."""
    tasks = in_parts(photos, settled.outputs["version"], partitions, configs[0], codes[0], store, publish)
    dataset, champion = tasks["merge"].outputs["dataset"], settled.outputs["champion"]
    tasks["inspect"] = inspect(photos=photos, dataset=dataset, champion=champion, config=configs[1], code=codes[1])
    return tasks


def train_and_score(
    dataset: PipelineChannel,
    configs: tuple[dict, dict],
    codes: tuple[str, str],
    champion: str,
    checkpoints: str,
    variant: str = "",
) -> dict[Step, dsl.PipelineTask]:
    """A dataset to a generator and its scores; configs and codes of train and evaluate, in this order."""
    trained = train(dataset=dataset, config=configs[0], code=codes[0], checkpoints=checkpoints, variant=variant)
    scored = evaluate(
        dataset=dataset,
        generator=trained.outputs["generator"],
        champion=champion,
        config=configs[1],
        code=codes[1],
        variant=variant,
    )
    return {"train": trained, "evaluate": scored}


def register_and_judge(
    generator: PipelineChannel, evaluation: PipelineChannel, inspection: PipelineChannel, config: dict, origin: dict
) -> dict[Step, dsl.PipelineTask]:
    """A scored generator to a version, and its way into service or not."""
    registered = register(generator=generator, evaluation=evaluation, inspection=inspection, config=config, tags=origin)
    judged = gate(registration=registered.outputs["registration"])
    with dsl.If(judged.output == True, name="better"):  # noqa: E712 - a KFP channel, not a bool
        promoted = promote(registration=registered.outputs["registration"])
    with dsl.Else(name="not-better"):
        rejected = reject(registration=registered.outputs["registration"])
    return {"register": registered, "gate": judged, "promote": promoted, "reject": rejected}


def settle(tasks: Mapping[Step, dsl.PipelineTask], cluster: Cluster) -> None:
    """What the cluster gives each step, and which may be reused."""
    for name, task in tasks.items():
        follows = name == "train" and cluster.gpu.nodes > 1
        _place(task, cluster.steps["resolve" if follows else name])  # what is asked of train, the job's pods ask
        # Of the others, one looks at aliases, which move, some act on the registry, which remembers for itself, and
        # one tells people: cached, they would be blind or silent. `choose` draws in seconds.
        task.set_caching_options(name in CACHED_STEPS)
    _place_training(tasks["train"], cluster)
    _again(tasks["preprocess"], cluster.attempts)
    for name in STREAMING:
        if name in tasks:
            tasks[name].set_env_variable(SHARD_CACHE, str(int(parse_quantity(cluster.shards.cache))))
    _environment(tasks["report"], LINKS, WEBHOOK)


def build(cluster: Cluster) -> GraphComponent:
    """The whole graph, as it runs on that cluster; on a laptop the cluster's settings have no effect."""

    @dsl.pipeline(
        name="colorizer-retraining", description="Retrains the colorizer and promotes it if it has earned it."
    )
    def retraining(
        photos: str,
        data_version: str,
        recipe: str,
        preprocess_config: dict,
        inspect_config: dict,
        train_config: dict,
        evaluate_config: dict,
        register_config: dict,
        preprocess_code: str,
        inspect_code: str,
        train_code: str,
        evaluate_code: str,
        checkpoints: str,
        tags: dict,
        only_if_changed: bool,
        partitions: int = cluster.partitions,
    ):
        """The whole retraining run.

        Args:
            photos: Folder of photographs; or s3://bucket/prefix, a DVC remote that holds them, or of the photographs.
            data_version: MD5 of the photographs as DVC computes it; or latest: what was published last in that remote,
                or what is below the prefix.
            recipe: Name of the recipe, for the record.
            preprocess_config: Section `preprocess` of params.yaml.
            inspect_config: Section `inspect`.
            train_config: Section `train`.
            evaluate_config: Section `evaluate`.
            register_config: Section `register`.
            preprocess_code: Hash of the code behind the step.
            inspect_code: Hash of the code behind the step.
            train_code: Hash of the code behind the step.
            evaluate_code: Hash of the code behind the step.
            checkpoints: Folder, or s3://bucket/prefix, that outlives a lost training attempt; it also remembers the
                photographs that were prepared.
            tags: What the registered version is tagged with, as far as it is known beforehand: git_commit, recipe,
                image_digest.
            only_if_changed: Whether a run ends at once when a version was made of the same data, code and recipe.
            partitions: Of the photographs, preprocessed at once; their number changes nothing in the result.
        """
        outcome = report_outcome(recipe=recipe, data_version=data_version)

        with dsl.ExitHandler(outcome, name="retraining"):
            settled = resolve(
                photos=photos,
                data_version=data_version,
                only_if_changed=only_if_changed,
                preprocess_config=preprocess_config,
                train_config=train_config,
                preprocess_code=preprocess_code,
                train_code=train_code,
                tags=tags,
            )
            with dsl.If(settled.outputs["Output"] == True, name="something-new"):  # noqa: E712 - a KFP channel, not a bool
                prepared = prepare(
                    photos,
                    settled,
                    partitions,
                    (preprocess_config, inspect_config),
                    (preprocess_code, inspect_code),
                    checkpoints,
                    cluster.shards.publish,
                )
                dataset, inspected = prepared["merge"].outputs["dataset"], prepared["inspect"]
                champion = settled.outputs["champion"]
                made = train_and_score(
                    dataset,
                    (settled.outputs["training"], evaluate_config),
                    (train_code, evaluate_code),
                    champion,
                    checkpoints,
                )
                # No artifact joins the two: training would not be reused once the champion has moved.
                made["train"].after(inspected)
                judged = register_and_judge(
                    made["train"].outputs["generator"],
                    made["evaluate"].outputs["evaluation"],
                    inspected.outputs["inspection"],
                    register_config,
                    settled.outputs["origin"],
                )

        tasks = {"resolve": settled, **prepared, **made, **judged, "report": outcome}
        settle(tasks, cluster)

    return retraining


retraining = build(load_cluster())


class TrialOutputs(NamedTuple):
    """What a trial leaves."""

    dataset: dsl.Dataset
    generator: dsl.Model
    evaluation: dsl.Artifact


@dsl.pipeline(name="colorizer-trial", description="Trains and scores a variant; registers nothing.")
def trial(
    photos: str,
    data_version: str,
    preprocess_config: dict,
    train_config: dict,
    evaluate_config: dict,
    preprocess_code: str,
    train_code: str,
    evaluate_code: str,
    checkpoints: str,
) -> TrialOutputs:
    """Three steps of `retraining`, for comparing variants. Arguments as there."""
    photographs = in_parts(photos, data_version, 1, preprocess_config, preprocess_code, checkpoints, "")
    dataset = photographs["merge"].outputs["dataset"]
    made = train_and_score(dataset, (train_config, evaluate_config), (train_code, evaluate_code), "", checkpoints)
    return TrialOutputs(dataset, made["train"].outputs["generator"], made["evaluate"].outputs["evaluation"])
