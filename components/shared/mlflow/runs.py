"""MLflow runs: the run a step writes to, and the parameters, metrics and artifacts it writes there."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

from components.shared.machine.pipeline_run import pipeline_run_id
from components.shared.mlflow import sqlite, tree
from components.shared.mlflow.connection import connect, explained, shown_uri, uri
from model.utils.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "colorizer"
MAX_TAG = 5000
"""The longest value of a tag in characters, as MLflow servers before 3.0 have it."""
_BATCH = 1000  # metrics that MLflow takes at once


def valid_name(name: str) -> str:
    """Returns the name of a metric or a tag with characters that MLflow takes: l1_ab[people] becomes l1_ab/people."""
    return re.sub(r"[^\w\-. :/]", "_", re.sub(r"\[(.*)\]$", r"/\1", name))[:200]


@dataclass(frozen=True)
class Run:
    """Writes to one MLflow run."""

    id: str
    _client: "MlflowClient"

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Logs parameters; nested mappings become dotted names. Logging the same value again does nothing.

        Raises:
            MlflowException: a parameter was logged before with another value.
        """
        from mlflow.entities import Param

        self._client.log_batch(self.id, params=[Param(key, _text(value)) for key, value in _flat(params)])

    def log_metrics(self, metrics: Mapping[str, float], step: int, at: float | None = None) -> None:
        """Logs one point of each curve.

        Args:
            metrics: name -> value; NaN and infinity are allowed.
            step: the caller's own count (training: images seen).
            at: seconds since 1970; now by default.
        """
        from mlflow.entities import Metric

        timestamp = round((at or time()) * 1000)
        points = [Metric(key, float(value), timestamp, step) for key, value in metrics.items()]
        for start in range(0, len(points), _BATCH):
            self._client.log_batch(self.id, metrics=points[start : start + _BATCH])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags of at most `MAX_TAG` characters each."""
        from mlflow.entities import RunTag

        self._client.log_batch(self.id, tags=[RunTag(key, value) for key, value in tags.items()])

    def log_dataset(self, name: str, version: str, context: str) -> None:
        """Records the data that this run used.

        Args:
            name: of the data.
            version: DVC's MD5 of the data, at most 36 characters.
            context: the purpose, such as "training" or "evaluation".
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"md5": version})
        dataset = Dataset(name=name, digest=version, source_type="dvc", source=source)
        tags = [InputTag("mlflow.data.context", context)]
        self._client.log_inputs(self.id, datasets=[DatasetInput(dataset=dataset, tags=tags)])

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Uploads a file, or a folder with its content, into `folder` of the run's artifacts."""
        self._client.log_artifact(self.id, str(path), folder)

    def log_text(self, text: str, path: str) -> None:
        """Writes a text as a file of the run's artifacts."""
        self._client.log_text(self.id, text, path)


@contextmanager
def start_run(name: str, run_id: str | None = None, system_metrics: bool = False) -> Iterator[Run]:
    """Starts or continues the run that this step writes to, and ends it.

    The run is the one of MLFLOW_RUN_ID if that is set; else, in a pipeline run, the step's own below the parent run;
    else `run_id`'s if it exists; else a new one. It is RUNNING inside the block, FINISHED after it, and FAILED when an
    exception leaves the block. That holds for the run of MLFLOW_RUN_ID, too, as with MLflow's own start_run.

    Args:
        name: of a run that is found below the parent run or made.
        run_id: of an earlier run to continue outside a pipeline run.
        system_metrics: samples CPU, memory, disk, network and GPU every 10 s into `system/...` metrics.

    Raises:
        UserError: MLflow cannot be reached or denies access; MLFLOW_RUN_ID names no run.
    """
    with explained():
        client = connect()
        import mlflow

        joined, parent = os.environ.get("MLFLOW_RUN_ID"), None
        experiment = experiment_id(client)  # no set_experiment: MLflow would refuse a run of another experiment
        if not joined and pipeline_run_id():
            parent = tree.ensure_parent_run(client, experiment)
            joined = tree.child(client, experiment, parent, name)
        elif not joined and run_id and _exists(client, run_id):
            joined = run_id
        started = mlflow.start_run(
            run_id=joined,
            experiment_id=experiment,
            run_name=None if joined else name,
            parent_run_id=parent,
            log_system_metrics=system_metrics,
        )
        with started:
            yield Run(started.info.run_id, client)


@explained()
def begin_pipeline_run() -> None:
    """Makes the parent run of this pipeline run; does nothing outside one, or where Kubeflow's plugin injects a run."""
    if pipeline_run_id() and not os.environ.get("MLFLOW_RUN_ID"):
        client = connect()
        tree.ensure_parent_run(client, experiment_id(client))


@explained()
def conclude(outcome: str, sentence: str) -> None:
    """Notes for the exit task how this pipeline run ended; does nothing outside a pipeline run.

    The step that decides it calls this last of all: a run without this note has failed.

    Args:
        outcome: promoted, proposed, rejected, unchanged or nothing new.
        sentence: the reason, for people.
    """
    if pipeline_run_id():
        client = connect()
        tree.conclude(client, experiment_id(client), outcome, sentence[:MAX_TAG])


def note_failure(name: str, reason: str) -> None:
    """Tags a step's run with the reason of its failure, for the exit task; does nothing outside a pipeline run."""
    if pipeline_run_id():
        with start_run(name) as joined:
            joined.set_tags({tree.FAILURE: reason[:MAX_TAG]})
        connect().set_terminated(joined.id, "FAILED")


def experiment_id(client: "MlflowClient") -> str:
    """Returns the id of the experiment of MLFLOW_RUN_ID's run, or of our own, which is made on first use.

    Beside a SQLite file, artifacts of our own experiment are in the folder mlartifacts/.

    Raises:
        UserError: the experiment is deleted.
    """
    from mlflow.exceptions import MlflowException

    injected = os.environ.get("MLFLOW_RUN_ID")
    if injected:
        theirs: str = client.get_run(injected).info.experiment_id
        return theirs
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    found = client.get_experiment_by_name(name)
    if found is None:
        database = sqlite.file_of(uri())
        location = sqlite.artifacts_beside(database) if database else None  # the server's
        try:
            made: str = client.create_experiment(name, artifact_location=location)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was first
                raise
        else:
            return made
        found = client.get_experiment_by_name(name)
    if found.lifecycle_stage != "active":
        raise UserError(
            f"The experiment {name} at {shown_uri()} is deleted; restore it (`mlflow experiments restore "
            f"--experiment-id {found.experiment_id}` with this MLFLOW_TRACKING_URI), or name another one in "
            "MLFLOW_EXPERIMENT_NAME."
        )
    existing: str = found.experiment_id
    return existing


def _exists(client: "MlflowClient", run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        found: bool = client.get_run(run_id).info.lifecycle_stage == "active"
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return False
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
