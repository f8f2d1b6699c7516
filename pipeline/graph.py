"""The retraining graph: preprocess -> train -> evaluate -> register -> gate -> promote or reject; then report.

One definition for the laptop and the cluster. No run id goes into a step that should be cached: on Kubeflow the run is
found through the label of its pods, on a laptop there is one run at a time.
"""

from dataclasses import dataclass
from typing import NamedTuple

from kfp import dsl, kubernetes

from components.evaluate.component import evaluate
from components.preprocess.component import preprocess
from components.register.component import gate, promote, register, reject
from components.report.component import report_outcome
from components.train.component import train

GPU_RESOURCE = "nvidia.com/gpu"
TRAIN_ATTEMPT_SECONDS = 24 * 3600
TRAIN_RETRIES = 3


@dataclass(frozen=True)
class Resources:
    """Requests and limits of a step's container: CPUs and memory as Kubernetes quantities, GPUs as a count."""

    cpu: str
    cpu_limit: str
    memory: str
    memory_limit: str
    gpus: int = 0


RESOURCES = {
    "preprocess": Resources("2", "8", "2Gi", "4Gi"),
    "train": Resources("4", "8", "16Gi", "32Gi", gpus=1),
    "evaluate": Resources("2", "8", "4Gi", "8Gi"),
    "register": Resources("500m", "2", "2Gi", "4Gi"),
    "gate": Resources("100m", "500m", "256Mi", "512Mi"),
    "promote": Resources("250m", "1", "1Gi", "2Gi"),
    "reject": Resources("250m", "1", "1Gi", "2Gi"),
    "report": Resources("100m", "500m", "256Mi", "512Mi"),
}
"""What each step asks for; tests hold the compiled YAML against this table."""


def _place(name: str, task: dsl.PipelineTask) -> None:
    needs = RESOURCES[name]
    task.set_cpu_request(needs.cpu).set_cpu_limit(needs.cpu_limit)
    task.set_memory_request(needs.memory).set_memory_limit(needs.memory_limit)
    if needs.gpus:
        task.set_accelerator_type(GPU_RESOURCE).set_accelerator_limit(needs.gpus)


def _train_and_score(
    photos: str,
    data_version: str,
    configs: tuple[dict, dict, dict],
    codes: tuple[str, str, str],
    champion: str,
    checkpoints: str,
) -> tuple[dsl.PipelineTask, dsl.PipelineTask, dsl.PipelineTask]:
    """Photographs to a generator and its scores; configs and codes of preprocess, train, evaluate, in this order."""
    photographs = preprocess(photos=photos, data_version=data_version, config=configs[0], code=codes[0])
    _place("preprocess", photographs)

    trained = train(dataset=photographs.outputs["dataset"], config=configs[1], code=codes[1], checkpoints=checkpoints)
    _place("train", trained)
    # The window that Argo measures from the first attempt must hold every attempt and the pauses between them.
    window = (TRAIN_RETRIES + 1) * (TRAIN_ATTEMPT_SECONDS + 600)
    trained.set_retry(TRAIN_RETRIES, backoff_duration="60s", backoff_factor=2, backoff_max_duration=f"{window}s")
    kubernetes.set_timeout(trained, TRAIN_ATTEMPT_SECONDS)
    kubernetes.empty_dir_mount(trained, "shared-memory", "/dev/shm", medium="Memory", size_limit="2Gi")
    kubernetes.add_toleration(trained, key=GPU_RESOURCE, operator="Exists", effect="NoSchedule")

    scored = evaluate(
        dataset=photographs.outputs["dataset"],
        generator=trained.outputs["generator"],
        champion=champion,
        config=configs[2],
        code=codes[2],
    )
    _place("evaluate", scored)
    return photographs, trained, scored


@dsl.pipeline(name="colorizer-retraining", description="Retrains the colorizer and promotes it if it has earned it.")
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
    champion: str,
    checkpoints: str,
    tags: dict,
):
    """The whole retraining run.

    Args:
        photos: Folder of photographs.
        data_version: MD5 of that folder as DVC computes it.
        recipe: Name of the recipe, for the record.
        preprocess_config: Section `preprocess` of params.yaml.
        train_config: Section `train`.
        evaluate_config: Section `evaluate`.
        register_config: Section `register`.
        preprocess_code: Hash of the code behind the step.
        train_code: Hash of the code behind the step.
        evaluate_code: Hash of the code behind the step.
        champion: URI of the model in service, or empty.
        checkpoints: Folder that outlives a lost training attempt.
        tags: What the registered version is tagged with: git_commit, data_version, recipe, pipeline_run_id,
            image_digest.
    """
    outcome = report_outcome(recipe=recipe, data_version=data_version)
    outcome.set_caching_options(False)  # cached, it would stay silent the second time
    _place("report", outcome)

    with dsl.ExitHandler(outcome, name="retraining"):
        _, trained, scored = _train_and_score(
            photos,
            data_version,
            (preprocess_config, train_config, evaluate_config),
            (preprocess_code, train_code, evaluate_code),
            champion,
            checkpoints,
        )

        registered = register(
            generator=trained.outputs["generator"],
            evaluation=scored.outputs["evaluation"],
            config=register_config,
            tags=tags,
        )
        registered.set_caching_options(False)  # it acts on the registry, which remembers for itself
        _place("register", registered)

        judged = gate(registration=registered.outputs["registration"])
        judged.set_caching_options(False)
        _place("gate", judged)

        with dsl.If(judged.output == True, name="better"):  # noqa: E712 - a KFP channel, not a bool
            promoted = promote(registration=registered.outputs["registration"])
            promoted.set_caching_options(False)
            _place("promote", promoted)
        with dsl.Else(name="not-better"):
            rejected = reject(registration=registered.outputs["registration"])
            rejected.set_caching_options(False)
            _place("reject", rejected)


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
    photographs, trained, scored = _train_and_score(
        photos,
        data_version,
        (preprocess_config, train_config, evaluate_config),
        (preprocess_code, train_code, evaluate_code),
        "",
        checkpoints,
    )
    return TrialOutputs(photographs.outputs["dataset"], trained.outputs["generator"], scored.outputs["evaluation"])
