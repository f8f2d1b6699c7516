"""The model registry: versions of the registered model `colorizer`, its aliases, and local copies of their files.

Aliases: `challenger` (newest that was scored), `proposed` (waits for a person), `champion` (in service), `previous`
(what a rollback returns to).
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.machine.workspace import workspace
from components.shared.mlflow import connection
from components.shared.mlflow.artifacts import download
from model.utils.errors import UserError
from model.utils.files import folder_aside

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

MODEL = "colorizer"
GENERATOR = "artifacts/generator"
"""Path of the generator folder among a version's files."""

_FIRST = (
    "`make run` trains one, and `colorize models import` registers the repository's; for a cluster, call the latter "
    "with the cluster's MLFLOW_TRACKING_URI (docs/operate/cluster.md)"
)


@dataclass(frozen=True)
class Version:
    """Holds a version of the registered model."""

    number: int
    tags: Mapping[str, str]
    run_id: str | None
    created: int
    """Milliseconds since 1970."""

    @property
    def uri(self) -> str:
        """URI of the version, such as models:/colorizer/3."""
        return f"models:/{MODEL}/{self.number}"

    @property
    def evaluation(self) -> str:
        """URI of the artifacts that the version was judged by, and of the lists of its photographs."""
        return f"runs:/{self.tags.get('judged_with', self.run_id)}/evaluation"

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights; empty when the version has no such tag."""
        return self.tags.get("weights_sha256", "")


@connection.explained()
def by_alias(alias: str) -> Version | None:
    """Returns the version that an alias names; None when there is none."""
    from mlflow.exceptions import MlflowException

    try:
        found = connection.connect().get_model_version_by_alias(MODEL, alias)
    except MlflowException as error:
        # MLflow has one code for a missing model, and another for a missing alias.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return _version(found)


def champion() -> Version | None:
    """Returns the version in service; None when there is none."""
    return by_alias("champion")


@connection.explained()
def get(number: int) -> Version:
    """Returns a version by its number.

    Raises:
        UserError: there is no such version.
    """
    from mlflow.exceptions import MlflowException

    try:
        return _version(connection.connect().get_model_version(MODEL, str(number)))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise UserError(f"There is no version {number} of {MODEL} at {connection.shown_uri()}.") from None


@connection.explained()
def aliases(number: int) -> list[str]:
    """Returns the aliases of a version, sorted."""
    return sorted(connection.connect().get_model_version(MODEL, str(number)).aliases)


@connection.explained()
def address(number: int) -> str:
    """Returns where MLflow keeps the files of a version, such as mlflow-artifacts:/1/models/m-1/artifacts."""
    return str(connection.connect().get_model_version_download_uri(MODEL, str(number)))


@connection.explained()
def find_all(tags: Mapping[str, str]) -> list[Version]:
    """Returns the versions with all of these tags, oldest first."""
    filters = [f"name = '{MODEL}'", *(f"tags.{key} = '{value}'" for key, value in tags.items())]
    client, found, token = connection.connect(), list[Version](), None
    while True:
        page = client.search_model_versions(" and ".join(filters), page_token=token)
        found += map(_version, page)
        token = page.token
        if not token:
            return sorted(found, key=lambda version: version.number)


def find(tags: Mapping[str, str]) -> Version | None:
    """Returns the oldest version with all of these tags; None when there is none."""
    return next(iter(find_all(tags)), None)


@dataclass(frozen=True)
class Model:
    """Holds the aliases and tags of the registered model as a whole."""

    aliases: Mapping[str, int]
    tags: Mapping[str, str]


@connection.explained()
def model() -> Model:
    """Returns the registered model; without aliases and tags when nothing was registered yet."""
    from mlflow.exceptions import MlflowException

    try:
        found = connection.connect().get_registered_model(MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return Model({}, {})
    return Model({alias: int(number) for alias, number in found.aliases.items()}, dict(found.tags))


@connection.explained()
def set_model_tag(key: str, value: str) -> None:
    """Sets a tag of the registered model as a whole."""
    connection.connect().set_registered_model_tag(MODEL, key, value)


@connection.explained()
def delete(number: int) -> None:
    """Deletes a version; the logged model stays."""
    connection.connect().delete_model_version(MODEL, str(number))


@connection.explained()
def create(model_id: str, run_id: str, tags: Mapping[str, str]) -> Version:
    """Makes a version of a completely logged model; MLflow writes it and its tags in one transaction."""
    from mlflow.exceptions import MlflowException

    client = connection.connect()
    try:
        client.create_registered_model(MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return _version(client.create_model_version(MODEL, f"models:/{model_id}", run_id, dict(tags), model_id=model_id))


@connection.explained()
def set_tags(number: int, tags: Mapping[str, str]) -> None:
    """Sets tags of a version, one after the other."""
    client = connection.connect()
    for key, value in tags.items():
        client.set_model_version_tag(MODEL, str(number), key, value)


@connection.explained()
def delete_tags(number: int, names: Iterable[str]) -> None:
    """Deletes tags of a version."""
    client = connection.connect()
    for name in names:
        client.delete_model_version_tag(MODEL, str(number), name)


@connection.explained()
def set_alias(alias: str, number: int | None) -> None:
    """Moves an alias to a version; None deletes it."""
    if number is None:
        connection.connect().delete_registered_model_alias(MODEL, alias)
    else:
        connection.connect().set_registered_model_alias(MODEL, alias, str(number))


def fetch(uri: str) -> Path:
    """Returns a folder with generator.safetensors and generator.json of a model, checked against its SHA-256.

    It copies a version's files once to workspace/cache/models/<sha256>/, and executes nothing of them.

    Args:
        uri: "models:/colorizer@champion" or another alias, "models:/colorizer/3", or a generator folder.

    Raises:
        UserError: no such folder, version or alias; its files are missing or damaged; MLflow cannot be reached.
    """
    if not uri.startswith("models:"):
        if not (Path(uri) / "generator.json").is_file():
            raise UserError(f"{uri} is no generator folder (it has no generator.json) and no models:/ URI.")
        return Path(uri)
    version = resolve(uri)
    cached = workspace() / "cache" / "models" / version.weights_sha256
    return cached if version.weights_sha256 and checksum(cached) == version.weights_sha256 else refetch(version)


def refetch(version: Version) -> Path:
    """Copies a version's files from MLflow even if a copy exists, and checks them against its SHA-256.

    Raises:
        UserError: its files are missing or damaged; MLflow cannot be reached.
    """
    expected, cached = version.weights_sha256, workspace() / "cache" / "models" / version.weights_sha256
    if expected and not (cached / "generator.json").is_file():  # half removed
        shutil.rmtree(cached, ignore_errors=True)
    with folder_aside(cached, "generator.json") as aside, tempfile.TemporaryDirectory(dir=aside) as scratch:
        downloaded = download(f"{version.uri}/{GENERATOR}", Path(scratch))
        if not expected or checksum(downloaded) != expected:
            raise UserError(
                f"{version.uri}: the weights in MLflow are damaged (their SHA-256 is not its weights_sha256); "
                "restore them from a backup, or put another version in service (`colorize promote V`)."
            )
        for path in downloaded.iterdir():
            path.rename(aside / path.name)
    return cached


def resolve(uri: str, asked_by: str = "") -> Version:
    """Returns the version that "models:/colorizer@alias" or "models:/colorizer/3" names.

    Args:
        uri: of a version.
        asked_by: the setting that holds the URI, for the error.

    Raises:
        UserError: the URI is neither, or there is no such version; MLflow cannot be reached.
    """
    try:
        return _resolve(uri)
    except UserError as error:
        raise UserError(f"{asked_by} is {uri}: {error}" if asked_by else str(error)) from error


def _resolve(uri: str) -> Version:
    named = re.fullmatch(rf"models:/{MODEL}(?:@(?P<alias>[\w-]+)|/(?P<number>[1-9]\d*))", uri)
    if not named:
        raise UserError(f"{uri}: write models:/{MODEL}@champion, models:/{MODEL}/3, or the path of a generator folder.")
    if named["number"]:
        return get(int(named["number"]))
    found = by_alias(named["alias"])
    if found is None:
        advice = _FIRST if named["alias"] == "champion" else "`colorize models` lists all versions"
        raise UserError(f"There is no {named['alias']} yet at {connection.shown_uri()}; {advice}.")
    return found


def checksum(folder: Path) -> str | None:
    """Returns the SHA-256 of a generator folder's weights; None when missing, or other than generator.json says."""
    try:
        described = json.loads((folder / "generator.json").read_bytes())["weights_sha256"]
        with (folder / "generator.safetensors").open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return actual if actual == described else None


def _version(found: "ModelVersion") -> Version:
    return Version(int(found.version), dict(found.tags), found.run_id, found.creation_timestamp)
