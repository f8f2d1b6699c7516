"""The model registry: versions of the registered model `colorizer`, its aliases, and a version's files brought here.

Aliases: `challenger` (newest that was scored), `champion` (in service), `previous` (what a rollback returns to).
MLflow moves one alias a call and has no transactions. Each function here orders its calls so that a crash between
any two leaves one champion, no alias on a half-made version, and a state that the same function, called again, mends.
"""

import getpass
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components import tracking
from components.workspace import workspace
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


@tracking.explained()
def aliases(number: int) -> list[str]:
    """The aliases of a version, sorted."""
    return sorted(tracking.connect().get_model_version(MODEL, str(number)).aliases)


@tracking.explained()
def find_all(tags: Mapping[str, str]) -> list[Version]:
    """The versions with all of these tags, oldest first."""
    filters = [f"name = '{MODEL}'", *(f"tags.{key} = '{value}'" for key, value in tags.items())]
    found = tracking.connect().search_model_versions(" and ".join(filters))
    return sorted(map(_version, found), key=lambda version: version.number)


def find(tags: Mapping[str, str]) -> Version | None:
    """The oldest version with all of these tags."""
    return next(iter(find_all(tags)), None)


@tracking.explained()
def create(model_id: str, run_id: str, tags: Mapping[str, str]) -> Version:
    """A new version. It has its tags from the first moment: MLflow writes both in one transaction.

    Args:
        model_id: MLflow's, of a model that was logged completely.
        run_id: the run that logged it.
    """
    from mlflow.exceptions import MlflowException

    client = tracking.connect()
    try:
        client.create_registered_model(MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return _version(client.create_model_version(MODEL, f"models:/{model_id}", run_id, dict(tags), model_id=model_id))


@tracking.explained()
def set_tags(number: int, tags: Mapping[str, str]) -> None:
    client = tracking.connect()
    for key, value in tags.items():
        client.set_model_version_tag(MODEL, str(number), key, value)


@tracking.explained()
def delete_tags(number: int, names: Iterable[str]) -> None:
    client = tracking.connect()
    for name in names:
        client.delete_model_version_tag(MODEL, str(number), name)


@tracking.explained()
def set_alias(alias: str, number: int) -> None:
    tracking.connect().set_registered_model_alias(MODEL, alias, str(number))


def promote(number: int, reason: str) -> Version:
    """Puts a version in service: `previous` becomes the champion of now, `champion` this version.

    The tags that explain it come first (promoted_at, promoted_by, promoted_from, reason), `champion` last: whatever is
    in service is explained, and what it replaced is one rollback away. Promoting the champion changes nothing.

    Raises:
        UserError: there is no such version; or the aliases, read back, are not what was set, because somebody else
            moved them at the same moment.
    """
    version, old = get(number), champion()
    if old and old.number == number:
        return version
    now = datetime.now(UTC).isoformat(timespec="seconds")
    origin = str(old.number) if old else "none"
    set_tags(number, {"promoted_at": now, "promoted_by": _user(), "promoted_from": origin, "promotion_reason": reason})
    if old:
        set_alias("previous", old.number)
    set_alias("champion", number)
    actual, before = champion(), by_alias("previous")
    if actual is None or actual.number != number or (old and (before is None or before.number != old.number)):
        raise UserError(
            f"Version {number} was promoted, but champion is now {actual and actual.number} and previous "
            f"{before and before.number}: somebody else moved them; look at `colorize models` and promote again."
        )
    return get(number)


def reject(number: int, reason: str) -> None:
    """Marks a version as weighed and found wanting. No alias moves."""
    set_tags(number, {"rejected_at": _now(), "rejected_by": _user(), "rejection_reason": reason})


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
    cached = workspace() / "cache" / "models" / expected
    if expected and checksum(cached) == expected:
        return cached
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent, prefix=".partial-") as aside:
        downloaded = download(f"{version.uri}/{GENERATOR}", Path(aside))
        if not expected or checksum(downloaded) != expected:
            raise UserError(
                f"{version.uri}: the weights in MLflow are damaged (their SHA-256 is not the version's "
                f"weights_sha256); use another version, or train and register again."
            )
        shutil.rmtree(cached, ignore_errors=True)  # damaged, or half removed
        try:
            downloaded.rename(cached)
        except OSError:
            if checksum(cached) != expected:  # else another process was first, with the same files
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
def download(uri: str, folder: Path) -> Path:
    """Copies what MLflow keeps at "models:/..." or "runs:/..." into a folder, below its own name.

    Raises:
        UserError: it is missing in the artifact store; MLflow cannot be reached.
    """
    tracking.connect()
    import mlflow

    try:
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
    except OSError as error:
        raise UserError(f"{uri}: the files are missing in MLflow's artifact store ({error}).") from error


def checksum(folder: Path) -> str | None:
    """SHA-256 of a generator folder's weights; None when they are missing, or other than generator.json says."""
    try:
        described = json.loads((folder / "generator.json").read_bytes())["weights_sha256"]
        with (folder / "generator.safetensors").open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return actual if actual == described else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"


def _version(found: "ModelVersion") -> Version:
    return Version(int(found.version), dict(found.tags), found.run_id)
