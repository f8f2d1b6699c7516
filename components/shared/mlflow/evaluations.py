"""Files of the evaluation that a version was judged by."""

from pathlib import Path
from tempfile import TemporaryDirectory

from components.shared.mlflow import connection
from components.shared.mlflow.artifacts import download
from components.shared.mlflow.registry import Version


def read(version: Version, name: str) -> bytes | None:
    """Returns the content of a file of a version's evaluation as it is now; None when there is no file of that name.

    Raises:
        UserError: as for `copy`.
    """
    with TemporaryDirectory() as folder:
        path = copy(version, name, Path(folder))
        return path.read_bytes() if path else None


@connection.explained()
def copy(version: Version, name: str, folder: Path) -> Path | None:
    """Copies a file of a version's evaluation into a folder; returns None when there is no file of that name.

    Raises:
        UserError: it is missing in the artifact store; MLflow cannot be reached.
    """
    _, run, place = version.evaluation.rsplit("/", 2)
    listed = connection.connect().list_artifacts(run, place)
    if not any(file.path == f"{place}/{name}" for file in listed):
        return None
    return download(f"{version.evaluation}/{name}", folder)
