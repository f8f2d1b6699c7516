"""MLflow's runs: where MLflow is, which run a step writes to, and what it writes there."""

import fcntl
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

from components.shared.machine.workspace import workspace
from components.shared.mlflow import tree
from model.utils.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "colorizer"

# Before MLflow is imported. What a user has set stays, but for the two that keep runs private and models harmless.
_DEFAULTS = {
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_PRINT_MODEL_URLS_ON_CREATION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",  # a model's requirements are ours to write, not uv.lock's
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # with the next line: some 10 s until a server counts as away
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",  # seconds; four times that until one that is silent counts as away, not 16 min
}
_ALWAYS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}
MAX_TAG = 5000
"""Characters that a tag's value may have, for MLflow servers before 3.0."""

_DISK = {  # SQLite's words, and those of a folder of artifacts
    "No space left on device": "make room on its disk, and start again",
    "database or disk is full": "make room on its disk, and start again",
    "disk I/O error": "make room on its disk, or check it, and start again",
    "readonly database": "give the user who runs this write access, and start again",
    "unable to open database file": "give the user who runs this write access, or it room",
}
_DENIED = {"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"}


def uri() -> str:
    """MLFLOW_TRACKING_URI, or the SQLite file mlflow.db in the workspace."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace() / 'mlflow.db'}"


def connect() -> "MlflowClient":
    """A client of the MLflow at `uri()`, runs and registry both; MLflow's own functions use the same from here on."""
    _environment()
    import mlflow  # 2 s: not for those who color a photograph from a folder

    logging.getLogger("alembic").setLevel(logging.WARNING)  # the migrations of a new SQLite file, one line each
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback of what `explained` says
    here = uri()
    chosen = "MLFLOW_TRACKING_URI" in os.environ
    mlflow.set_tracking_uri(here)
    if not chosen:
        os.environ.pop("MLFLOW_TRACKING_URI", None)  # set_tracking_uri exports it; it must not outlive this folder
    if not here.startswith("sqlite:///"):
        return mlflow.MlflowClient(here)
    with _alone(here):
        _create(Path(here.removeprefix("sqlite:///")))
        return mlflow.MlflowClient(here)


@contextmanager
def explained() -> Iterator[None]:
    """MLflow's refusals as sentences. A context manager, and a decorator.

    Raises:
        UserError: the server cannot be reached or denies access, or the store cannot be opened; names its URI.
    """
    _environment()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        code = getattr(error, "error_code", "INTERNAL_ERROR")
        reason = _reason(error)
        if code in _DENIED:
            advice = "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            raise UserError(f"MLflow at {public(uri())} denies access ({reason}); {advice}.") from error
        if words := next((words for words in _DISK if words in str(error)), None):
            raise UserError(f"MLflow at {public(uri())} cannot be used ({words}); {_DISK[words]}.") from error
        if "API request to" in str(error) or isinstance(error, SQLAlchemyError):
            advice = "start it, or correct MLFLOW_TRACKING_URI"
            raise UserError(f"MLflow at {public(uri())} cannot be used ({reason}); {advice}.") from error
        raise UserError(f"MLflow at {public(uri())} refuses: {reason}.") from error


@dataclass(frozen=True)
class Run:
    """A run to write to."""

    id: str
    _client: "MlflowClient"

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Nested mappings become dotted names. A value once logged cannot change; logging it again does nothing."""
        from mlflow.entities import Param

        self._client.log_batch(self.id, params=[Param(key, _text(value)) for key, value in _flat(params)])

    def log_metrics(self, metrics: Mapping[str, float], step: int, at: float | None = None) -> None:
        """One point of each curve; `step` counts what the caller counts (training: images seen).

        Args:
            at: seconds since 1970; now by default.
        """
        from mlflow.entities import Metric

        then = round((at or time()) * 1000)
        points = [Metric(key, float(value), then, step) for key, value in metrics.items()]
        self._client.log_batch(self.id, metrics=points)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(self.id, tags=[RunTag(key, value) for key, value in tags.items()])

    def log_dataset(self, name: str, version: str, context: str) -> None:
        """The data this run used.

        Args:
            version: DVC's md5 of the data, at most 36 characters.
            context: what for: "training" or "evaluation".
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"md5": version})
        dataset = Dataset(name=name, digest=version, source_type="dvc", source=source)
        tags = [InputTag("mlflow.data.context", context)]
        self._client.log_inputs(self.id, datasets=[DatasetInput(dataset=dataset, tags=tags)])

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """A file, or a folder with all that is in it, below `folder` of the run's artifacts."""
        self._client.log_artifact(self.id, str(path), folder)

    def log_text(self, text: str, path: str) -> None:
        """A text as a file of the run's artifacts."""
        self._client.log_text(self.id, text, path)


@contextmanager
def run(name: str, run_id: str | None = None, system_metrics: bool = False) -> Iterator[Run]:
    """The run this step writes to.

    MLFLOW_RUN_ID's if set; else, in a pipeline run, the step's own in its tree; else `run_id`'s if it exists, or a new
    one. The run is RUNNING inside, FINISHED after, FAILED when an exception leaves the block: also a run that somebody
    injected, as MLflow's own start_run has it (Kubeflow's plugin sets the same status again when the task ends).

    Args:
        name: of a run that is joined or begun.
        system_metrics: samples CPU, memory, disk, network and GPU every 10 s into `system/...` metrics.

    Raises:
        UserError: MLflow cannot be reached or denies access; MLFLOW_RUN_ID names no run.
    """
    with explained():
        client = connect()
        import mlflow

        joined, parent = os.environ.get("MLFLOW_RUN_ID"), None
        into = experiment(client)  # and no set_experiment: MLflow would refuse a run of another one
        if not joined and tree.pipeline_run_id():
            parent = tree.plant(client, into)
            joined = tree.child(client, into, parent, name)
        elif not joined and run_id and _exists(client, run_id):
            joined = run_id
        started = mlflow.start_run(
            run_id=joined,
            experiment_id=into,
            run_name=None if joined else name,
            parent_run_id=parent,
            log_system_metrics=system_metrics,
        )
        with started:
            yield Run(started.info.run_id, client)


def note_failure(name: str, reason: str) -> None:
    """Says in a step's run what it died of, for the exit task to tell; without the run of a pipeline, nothing."""
    if tree.pipeline_run_id():
        with run(name) as joined:
            joined.set_tags({tree.FAILURE: reason[:MAX_TAG]})
        connect().set_terminated(joined.id, "FAILED")


@contextmanager
def _alone(sqlite: str) -> Iterator[None]:
    """A client's first touch of a file creates its tables; two processes that do so at once trip over each other."""
    folder = _folder(sqlite)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".mlflow.lock").open("w")
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; correct MLFLOW_TRACKING_URI ({sqlite}).") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _create(database: Path) -> None:
    """Makes MLflow's tables in a file that appears with all of them: MLflow cannot use one that a kill left halfway."""
    if database.exists():
        return
    from mlflow.store.db import utils

    aside = database.with_name(f".{database.name}.partial")
    for leftover in database.parent.glob(f"{aside.name}*"):  # with SQLite's journal
        leftover.unlink()
    engine = utils.create_sqlalchemy_engine(f"sqlite:///{aside}")
    utils._initialize_tables(engine)
    engine.dispose()
    aside.rename(database)


def _environment() -> None:
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.update(_ALWAYS)


def _folder(sqlite: str) -> Path:
    return Path(sqlite.removeprefix("sqlite:///")).absolute().parent


def _exists(client: "MlflowClient", run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        found: bool = client.get_run(run_id).info.lifecycle_stage == "active"
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return False
    return found


def experiment(client: "MlflowClient") -> str:
    """The id of the injected run's experiment, or of ours, made on first use; beside a SQLite file its artifacts lie in
    mlartifacts/."""
    from mlflow.exceptions import MlflowException

    injected = os.environ.get("MLFLOW_RUN_ID")
    if injected:
        theirs: str = client.get_run(injected).info.experiment_id
        return theirs
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    found = client.get_experiment_by_name(name)
    if found is None:
        here = uri()
        location = str(_folder(here) / "mlartifacts") if here.startswith("sqlite:///") else None  # None: the server's
        try:
            made: str = client.create_experiment(name, artifact_location=location)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was first
                raise
        else:
            return made
        found = client.get_experiment_by_name(name)
    existing: str = found.experiment_id
    return existing


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _reason(error: Exception) -> str:
    """MLflow's own words; of a request that failed, only why; of a database, what it said itself."""
    text = " ".join(str(getattr(error, "orig", error)).split()).rstrip(".")
    cause = re.search(r""".*Caused by \w+\((["'])(.*)\1""", text)  # the innermost of several
    return (cause[2].rpartition(": ")[2] if cause else text)[:400]


def public(address: str) -> str:
    """Without the password that a URI may carry."""
    scheme, separator, rest = address.partition("://")
    return scheme + separator + rest.rpartition("@")[2] if separator else address
