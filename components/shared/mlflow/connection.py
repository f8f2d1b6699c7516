"""The connection to MLflow: its address, a client for it, and its errors as sentences."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from components.shared.machine.first_contact import await_in_new_pod
from components.shared.machine.pipeline_run import on_kubeflow
from components.shared.machine.workspace import workspace
from components.shared.mlflow import sqlite
from model.utils.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

MULTIPART_DOWNLOAD = "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"
"""Environment variable: "true" lets MLflow's clients download from the store itself."""

# Set before MLflow is imported. A value that the user has set stays.
_DEFAULTS = {
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_PRINT_MODEL_URLS_ON_CREATION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",  # we write a model's requirements; uv.lock does not
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # with the next line: a server counts as unreachable after about 10 s
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",  # seconds per attempt; a silent server counts as unreachable after 2 min
    # Artifacts go through the server: the addresses that it signs are the store's own, which few clients can reach.
    MULTIPART_DOWNLOAD: "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
    "GIT_PYTHON_REFRESH": "quiet",  # else a page about git in every log of an image without git
}
# Whatever the user has set: no telemetry, and no pickle is loaded.
_ALWAYS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}
_DISK = {  # messages of SQLite and of a folder of artifacts, and what to do
    "No space left on device": "make room on its disk, and run the same command again",
    "database or disk is full": "make room on its disk, and run the same command again",
    "disk I/O error": "make room on its disk, or check it, and run the same command again",
    "readonly database": "give the user who runs this write access, and run the same command again",
    "unable to open database file": "give the user who runs this write access, or it room",
}
_PATH = re.compile(r"(sqlite(\+\w+)?|file):///|databricks|[^@:]*$")  # a path or a name: these carry no password
_ADDRESS = re.compile(r"([\w+.-]+://)([^/?#]*@)?([^/?#@]*)([/][^?#@]*)?([?][^@]*)?")
_PASSWORD = re.compile(r"(?<=://)[^\s/]*@")  # user and password of an address
_SERVER = ("http://", "https://")
_DENIED = {"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"}


def uri() -> str:
    """Returns MLFLOW_TRACKING_URI, or the URI of the SQLite file mlflow.db in the workspace."""
    return os.environ.get("MLFLOW_TRACKING_URI") or sqlite.url(workspace() / "mlflow.db")


def shown_uri() -> str:
    """Returns `uri()` without the user name and password that it may carry."""
    return redacted(uri())


def connect() -> "MlflowClient":
    """Returns a client of the MLflow at `uri()`, for runs and the registry; MLflow's own functions use it, too.

    Raises:
        UserError: the folder of the SQLite file cannot be made; MLFLOW_TRACKING_URI is no address, or one of a database
            whose driver is missing here.
    """
    _set_environment()
    _require_address()
    import mlflow  # takes 2 s; coloring a photograph from a folder does without

    logging.getLogger("alembic").setLevel(logging.WARNING)  # else one line for each migration of a new SQLite file
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # else a traceback of what `explained` says
    here = _without_login(uri())
    chosen = "MLFLOW_TRACKING_URI" in os.environ
    mlflow.set_tracking_uri(here)
    if not chosen:
        os.environ.pop("MLFLOW_TRACKING_URI", None)  # set_tracking_uri exports it; it must not outlive this folder
    if database := sqlite.file_of(here):
        with sqlite.prepared(database):
            return mlflow.MlflowClient(here)
    if here.startswith(_SERVER):
        await_in_new_pod(redacted(here), "MLflow")
    try:
        return mlflow.MlflowClient(here)
    except ImportError as error:
        raise UserError(f"MLflow at {shown_uri()} needs the Python package {error.name}, missing here.") from None


def require_shared() -> None:
    """Checks, in a run on Kubeflow, that MLflow is a server: each pod has a file of its own.

    Raises:
        UserError: it is a file.
    """
    if on_kubeflow() and urlsplit(uri()).scheme.partition("+")[0] in ("", "file", "sqlite"):
        raise UserError(
            f"MLflow at {shown_uri()} is a file of this pod, which the other steps do not see; set "
            "MLFLOW_TRACKING_URI, the server's address, in the ConfigMap `colorizer` of the namespace of the runs."
        )


@contextmanager
def explained() -> Iterator[None]:
    """Turns MLflow's errors into sentences. Works as a context manager and as a decorator.

    Raises:
        UserError: the server cannot be reached or denies access, or the store cannot be opened; names its URI.
    """
    _set_environment()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        code = getattr(error, "error_code", "INTERNAL_ERROR")
        reason = _reason(error)
        if code in _DENIED:
            advice = "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            raise UserError(f"MLflow at {shown_uri()} denies access ({reason}); {advice}.") from error
        if words := next((words for words in _DISK if words in str(error)), None):
            raise UserError(f"MLflow at {shown_uri()} cannot be used ({words}); {_DISK[words]}.") from error
        if "API request to" in str(error) or isinstance(error, SQLAlchemyError):
            advice = "start it, or correct MLFLOW_TRACKING_URI"
            raise UserError(f"MLflow at {shown_uri()} cannot be used ({reason}); {advice}.") from error
        raise UserError(f"MLflow at {shown_uri()} refuses: {reason}.") from error


def redacted(address: str) -> str:
    """Returns a URI without the user, password and query that it may carry; of a malformed one, only the scheme."""
    if _PATH.match(address):
        return address
    if found := _ADDRESS.fullmatch(address):
        return "".join(part for part in found.group(1, 3, 4) if part)
    return f"{address.partition(':')[0]}://..." if "://" in address else "..."


def _require_address() -> None:
    """Raises UserError if MLFLOW_TRACKING_URI is malformed: the parsers' own messages may quote its password."""
    try:
        whole = _PATH.match(uri()) or (_ADDRESS.fullmatch(uri()) and [urlsplit(uri()).port])
    except ValueError:
        whole = None
    if not whole:
        raise UserError(
            f"MLFLOW_TRACKING_URI is no address ({shown_uri()}): write SCHEME://USER:PASSWORD@HOST:PORT, with %2F, "
            "%3F, %23 and %40 for / ? # and @ in the password."
        )


def _without_login(address: str) -> str:
    """Moves a server's user and password from its address to MLflow's variables: MLflow's errors quote the address."""
    if not address.startswith(_SERVER):
        return address
    parts = urlsplit(address)
    if parts.username and parts.password:
        os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username)
        os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password)
    return redacted(address)


def _set_environment() -> None:
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.update(_ALWAYS)


def _reason(error: Exception) -> str:
    """Returns MLflow's message; of a failed request only its cause, of a database only what the database said."""
    text = " ".join(str(getattr(error, "orig", error)).split()).rstrip(".")
    text = _PASSWORD.sub("", text.replace(uri().rstrip("/"), shown_uri()))
    cause = re.search(r""".*Caused by \w+\((["'])(.*)\1""", text)  # the innermost of several
    return (cause[2].rpartition(": ")[2] if cause else text)[:400]
