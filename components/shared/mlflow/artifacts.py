"""Downloads of artifacts: through MLflow's server, or from the store itself where somebody opened the way to it."""

from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

from components.shared.machine.first_contact import answers
from components.shared.mlflow import connection
from model.utils.errors import UserError

SILENCE = 20
"""Seconds without an answer after which a store counts as unreachable."""


@connection.explained()
def download(uri: str, folder: Path) -> Path:
    """Copies the artifacts at "models:/..." or "runs:/..." into a folder, below their own name.

    Raises:
        UserError: they are missing in the artifact store; MLflow cannot be reached, or the store where it has to be.
    """
    connection.connect()
    import mlflow

    if (store := _store(uri)) and not answers(store, SILENCE):
        parts = urlsplit(store)
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        raise UserError(
            f"{uri}: MLflow's artifact store at {place} cannot be reached from here; unset "
            f"{connection.MULTIPART_DOWNLOAD} to download through MLflow at {connection.shown_uri()}."
        )
    try:
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
    except OSError as error:
        raise UserError(f"{uri}: the files are missing in MLflow's artifact store ({error}).") from error


def _store(uri: str) -> str:
    """Returns the address in the store of a file at the URI where MLflow's client goes there itself; else "".

    Of a store that does not answer, MLflow's client asks again and again, for eight minutes.
    """
    from mlflow.environment_variables import MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
    from mlflow.tracking.artifact_utils import _get_root_uri_and_artifact_path

    if not MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD.get():
        return ""
    root, path = _get_root_uri_and_artifact_path(uri)
    found = get_artifact_repository(root)
    repository = getattr(found, "repo", found)  # behind models:/ and runs:/
    if not isinstance(repository, MlflowArtifactsRepository):
        return ""
    files = (file.path for file in repository.list_artifacts(path) if not file.is_dir)
    try:
        return str(repository._get_presigned_download_url(next(chain(files, [path]))).url)
    except (OSError, MlflowException):  # the server signs no address: everything goes through it
        return ""
