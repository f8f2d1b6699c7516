"""The retraining graph: resolve, preprocess, train, evaluate, register, gate, promote or reject; then report.

One definition for the laptop and the cluster. No run id goes into a step that should be cached: it travels in the
environment, which is no part of Kubeflow's cache key.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kfp import dsl, kubernetes
from kfp.dsl.graph_component import GraphComponent
from kfp.dsl.pipeline_channel import PipelineChannel

from components.evaluate.component import evaluate
from components.preprocess.component import preprocess
from components.register.component import gate, promote, register, reject
from components.report.component import report_outcome
from components.resolve.component import resolve
from components.train.component import train
from components.tree import RUN_ID
from pipeline.cluster import Cluster, Resources, Step, load_cluster

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
    """On a GPU node, as often as it takes."""
    gpu, attempts = cluster.gpu, cluster.attempts
    task.set_accelerator_type(gpu.resource).set_accelerator_limit(gpu.count)
    for key, value in gpu.labels.items():
        kubernetes.add_pod_label(task, key, value)
    for key, value in gpu.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    if gpu.affinity:
        kubernetes.add_node_affinity(task, [requirement.model_dump() for requirement in gpu.affinity])
    for toleration in gpu.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
    kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", medium="Memory", size_limit=gpu.shared_memory)
    kubernetes.set_timeout(task, attempts.seconds)
    task.set_retry(
        attempts.retries,
        backoff_duration=f"{attempts.pause}s",
        backoff_factor=2,
        backoff_max_duration=f"{attempts.window}s",
    )


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
    generator: PipelineChannel, evaluation: PipelineChannel, config: dict, origin: dict
) -> dict[Step, dsl.PipelineTask]:
    """A scored generator to a version, and its way into service or not."""
    registered = register(generator=generator, evaluation=evaluation, config=config, tags=origin)
    judged = gate(registration=registered.outputs["registration"])
    with dsl.If(judged.output == True, name="better"):  # noqa: E712 - a KFP channel, not a bool
        promoted = promote(registration=registered.outputs["registration"])
    with dsl.Else(name="not-better"):
        rejected = reject(registration=registered.outputs["registration"])
    return {"register": registered, "gate": judged, "promote": promoted, "reject": rejected}


def settle(tasks: Mapping[Step, dsl.PipelineTask], cluster: Cluster) -> None:
    """What the cluster gives each step, and which may be reused."""
    for name, task in tasks.items():
        _place(task, cluster.steps[name])
        # Of the others, one looks at aliases, which move, some act on the registry, which remembers for itself, and
        # one tells people: cached, they would be blind or silent. `choose` draws in seconds.
        task.set_caching_options(name in ("preprocess", "train", "evaluate"))
    _place_training(tasks["train"], cluster)
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
        train_config: dict,
        evaluate_config: dict,
        register_config: dict,
        preprocess_code: str,
        train_code: str,
        evaluate_code: str,
        checkpoints: str,
        tags: dict,
        only_if_changed: bool,
    ):
        """The whole retraining run.

        Args:
            photos: Folder of photographs; or s3://bucket/prefix, a DVC remote that holds them.
            data_version: MD5 of the photographs as DVC computes it, or latest: what was published last in that remote.
            recipe: Name of the recipe, for the record.
            preprocess_config: Section `preprocess` of params.yaml.
            train_config: Section `train`.
            evaluate_config: Section `evaluate`.
            register_config: Section `register`.
            preprocess_code: Hash of the code behind the step.
            train_code: Hash of the code behind the step.
            evaluate_code: Hash of the code behind the step.
            checkpoints: Folder, or s3://bucket/prefix, that outlives a lost training attempt.
            tags: What the registered version is tagged with, as far as it is known beforehand: git_commit, recipe,
                image_digest.
            only_if_changed: Whether a run ends at once when a version was made of the same data, code and recipe.
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
                photographs = preprocess(
                    photos=photos,
                    data_version=settled.outputs["version"],
                    config=preprocess_config,
                    code=preprocess_code,
                )
                made = train_and_score(
                    photographs.outputs["dataset"],
                    (settled.outputs["training"], evaluate_config),
                    (train_code, evaluate_code),
                    settled.outputs["champion"],
                    checkpoints,
                )
                judged = register_and_judge(
                    made["train"].outputs["generator"],
                    made["evaluate"].outputs["evaluation"],
                    register_config,
                    settled.outputs["origin"],
                )

        settle({"resolve": settled, "preprocess": photographs, **made, **judged, "report": outcome}, cluster)

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
    """The first three steps of `retraining`, for comparing variants. Arguments as there."""
    photographs = preprocess(photos=photos, data_version=data_version, config=preprocess_config, code=preprocess_code)
    dataset = photographs.outputs["dataset"]
    made = train_and_score(dataset, (train_config, evaluate_config), (train_code, evaluate_code), "", checkpoints)
    return TrialOutputs(dataset, made["train"].outputs["generator"], made["evaluate"].outputs["evaluation"])
