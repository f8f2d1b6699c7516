"""One run on a cluster: the pipeline version, its arguments, the request, and its progress."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import kfp_server_api
import yaml

from components.images.names import CPU_IMAGE, GPU_IMAGE
from components.shared.machine.code import git_commit
from components.shared.photos.remote import LATEST
from model.utils.errors import UserError
from pipeline import ROOT
from pipeline import compile as compiled
from pipeline.arguments import arguments
from pipeline.cluster.client import Client
from pipeline.graph import retraining
from pipeline.steps import steps
from pipeline.variants import Variants

POLL_SECONDS = 10
_ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")


@dataclass(frozen=True)
class Place:
    """Holds the places on a cluster that runs read and write.

    Attributes:
        photos: s3://bucket/prefix of a DVC remote, or a folder mounted into the steps.
        checkpoints: s3://bucket/prefix, or a folder mounted into the steps.
        experiment: Kubeflow experiment.
        service_account: Service account of the step pods.
    """

    photos: str
    checkpoints: str
    experiment: str
    service_account: str


@dataclass(frozen=True)
class Package:
    """Holds the compiled pipeline: its file, its names, and a digest of its content."""

    file: Path
    pipeline: str
    version: str
    digest: str

    @classmethod
    def current(cls, cluster: Path | None = None) -> Self:
        """Returns the YAML in the repository.

        Args:
            cluster: File that overrides some of settings.yaml, as it was compiled with.

        Raises:
            UserError: it is not what the graph compiles to.
        """
        digest = compiled.digest(cluster)
        commit, _, dirty = git_commit().partition("-")
        version = "-".join(part for part in (commit[:12], dirty, digest) if part)
        return cls(compiled.COMPILED, retraining.name, version, digest)

    def upload(self, client: Client) -> tuple[str, str]:
        """Uploads the pipeline version if it is missing; returns the ids of pipeline and version."""
        pipeline_id = client.pipeline(self.pipeline)
        return pipeline_id, client.version(pipeline_id, self.version, self.digest, self.file)


def cluster_arguments(variants: Variants, place: Place, data_version: str) -> dict[str, Any]:
    """Returns the arguments of a run on a cluster. With `LATEST` data a run ends at once when there is nothing new."""
    return arguments(
        variants,
        place.photos,
        data_version,
        place.checkpoints,
        f"{CPU_IMAGE} {GPU_IMAGE}",
        only_if_changed=data_version == LATEST,
    )


def recorded_version(root: Path = ROOT) -> str:
    """Returns the data version of data.dvc without reading data/.

    Raises:
        UserError: the file is missing or has no version.
    """
    tracked = root / "data.dvc"
    try:
        return str(yaml.safe_load(tracked.read_text(encoding="utf-8"))["outs"][0]["md5"])
    except (OSError, yaml.YAMLError, LookupError, TypeError):
        raise UserError(f"{tracked} does not say which version of the data to use; give one with --data.") from None


def request(package: Package, arguments: dict[str, Any], place: Place, namespace: str) -> dict[str, Any]:
    """Returns the request of `submit` in readable form."""
    return {
        "namespace": namespace,
        "pipeline": package.pipeline,
        "version": package.version,
        "experiment": place.experiment,
        "run": {
            "display_name": _run_name(arguments),
            "service_account": place.service_account,
            "runtime_config": {"parameters": arguments},
        },
    }


def submit(client: Client, package: Package, arguments: dict[str, Any], place: Place) -> str:
    """Starts a run and returns its id.

    Raises:
        ApiException: the server refuses.
    """
    pipeline_id, version_id = package.upload(client)
    run = client.start(
        experiment_id=client.experiment(place.experiment),
        job_name=_run_name(arguments),
        params=arguments,
        pipeline_id=pipeline_id,
        version_id=version_id,
        service_account=place.service_account,
    )
    return str(run.run_id)


def follow(client: Client, run_id: str) -> None:
    """Prints a line on stderr whenever a step changes its state, until the run ends.

    Raises:
        UserError: the run failed or was stopped; names the step and its error.
    """
    shown: dict[str, str] = {}
    while True:
        run = client.get_run(run_id)
        tasks = _tasks(run)
        for name, task in tasks.items():
            if task.state and shown.get(name) != task.state:
                shown[name] = task.state
                print(f"{name}: {task.state.lower()}{_seconds(task)}", file=sys.stderr, flush=True)
        if run.state in _ENDED:
            break
        time.sleep(POLL_SECONDS)
    if run.state != "SUCCEEDED":
        failed = [f"{name}: {task.error.message}" for name, task in tasks.items() if task.error and task.error.message]
        reason = "; ".join(failed) or (run.error and run.error.message) or "no step reported an error"
        raise UserError(f"The run {run.state.lower()} ({reason.rstrip('.')}); see {client.run_address(run_id)}.")
    print(f"The run succeeded: {client.run_address(run_id)}")


def _tasks(run: kfp_server_api.V2beta1Run) -> dict[str, Any]:
    """Returns the run's steps by name in the order of the graph, without Kubeflow's drivers and groups."""
    details = (run.run_details and run.run_details.task_details) or []
    by_name: dict[str, Any] = {}
    for task in sorted(details, key=_progress, reverse=True):  # of several partitions, the slowest counts
        by_name[task.display_name] = task
    return {step.name: by_name[step.name] for step in steps() if step.name in by_name}


def _progress(task: Any) -> int:
    return {"FAILED": 0, "CANCELED": 0, "SUCCEEDED": 2, "SKIPPED": 2}.get(task.state, 1)


def _seconds(task: Any) -> str:
    if not (task.start_time and task.end_time and task.end_time > task.start_time):
        return ""
    return f", {(task.end_time - task.start_time).total_seconds():.0f} s"


def _run_name(arguments: dict[str, Any]) -> str:
    return f"{arguments['recipe']} {time.strftime('%Y-%m-%d %H:%M:%S')}"
