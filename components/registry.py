"""The model registry: versions of the registered model `colorizer`, its aliases, and a version's files brought here.

Aliases: `challenger` (newest that was scored), `champion` (in service), `previous` (what a rollback returns to).
MLflow moves one alias a call and has no transactions. Each function here orders its calls so that a crash between
any two leaves one champion, no alias on a half-made version, and a state that the same function, called again, mends.
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components import tracking
from model.errors import UserError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

MODEL = "colorizer"
GENERATOR = "artifacts/generator"
"""Where a version's files hold the generator folder."""


@dataclass(frozen=True)
class Version:
    """A version of the registered model."""

    number: int
    tags: Mapping[str, str]
    run_id: str | None

    @property
    def uri(self) -> str:
        return f"models:/{MODEL}/{self.number}"

    @property
    def weights_sha256(self) -> str:
        return self.tags.get("weights_sha256", "")


@tracking.explained()
def by_alias(alias: str) -> Version | None:
    """The version that an alias names, None when there is none."""
    from mlflow.exceptions import MlflowException

    try:
        found = tracking.connect().get_model_version_by_alias(MODEL, alias)
    except MlflowException as error:
        # No registered model, and no such alias: MLflow has a code for each.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return _version(found)


def champion() -> Version | None:
    """The version in service."""
    return by_alias("champion")


@tracking.explained()
def get(number: int) -> Version:
    """A version by its number.

    Raises:
        UserError: there is no such version.
    """
    from mlflow.exceptions import MlflowException

    try:
        return _version(tracking.connect().get_model_version(MODEL, str(number)))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise UserError(f"There is no version {number} of {MODEL} at {tracking.uri()}.") from None


def fetch(uri: str) -> Path:
    """A folder with the generator.safetensors and generator.json of a model, checked against its SHA-256.

    A version's files are copied once to workspace/cache/models/<sha256>/. Nothing of them is executed.

    Args:
        uri: "models:/colorizer@champion" or another alias, "models:/colorizer/3", or a generator folder, which is
            returned as it is.

    Raises:
        UserError: no such folder, version or alias; its files are missing or damaged; MLflow cannot be reached.
    """
    if not uri.startswith("models:"):
        if not (Path(uri) / "generator.json").is_file():
            raise UserError(f"{uri} is no generator folder (it has no generator.json) and no models:/ URI.")
        return Path(uri)
    version = resolve(uri)
    expected = version.weights_sha256
    cached = Path("workspace") / "cache" / "models" / expected
    if expected and _matches(cached, expected):
        return cached
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent, prefix=".partial-") as aside:
        downloaded = _download(f"{version.uri}/{GENERATOR}", Path(aside))
        if not expected or not _matches(downloaded, expected):
            raise UserError(
                f"{version.uri}: the weights in MLflow are damaged (their SHA-256 is not the version's "
                f"weights_sha256); use another version, or train and register again."
            )
        shutil.rmtree(cached, ignore_errors=True)  # damaged, or half removed
        try:
            downloaded.rename(cached)
        except OSError:
            if not _matches(cached, expected):  # else another process was first, with the same files
                raise
    return cached


def resolve(uri: str) -> Version:
    """The version that "models:/colorizer@alias" or "models:/colorizer/3" names.

    Raises:
        UserError: it is neither, or names nothing.
    """
    named = re.fullmatch(rf"models:/{MODEL}(?:@(?P<alias>[\w-]+)|/(?P<number>[1-9]\d*))", uri)
    if not named:
        raise UserError(f"{uri}: write models:/{MODEL}@champion, models:/{MODEL}/3, or the path of a generator folder.")
    if named["number"]:
        return get(int(named["number"]))
    found = by_alias(named["alias"])
    if found is None:
        advice = (
            "`make run` trains and registers one" if named["alias"] == "champion" else "`colorize models` lists all"
        )
        raise UserError(f"There is no {named['alias']} yet: {advice}.")
    return found


@tracking.explained()
def _download(uri: str, folder: Path) -> Path:
    tracking.connect()
    import mlflow

    try:
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
    except OSError as error:
        raise UserError(f"{uri}: the files are missing in MLflow's artifact store ({error}).") from error


def _matches(folder: Path, weights_sha256: str) -> bool:
    """Whether the weights are those of the checksum, in the file and in its description."""
    try:
        described = json.loads((folder / "generator.json").read_bytes())["weights_sha256"]
        with (folder / "generator.safetensors").open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(actual == described == weights_sha256)


def _version(found: "ModelVersion") -> Version:
    return Version(int(found.version), dict(found.tags), found.run_id)
