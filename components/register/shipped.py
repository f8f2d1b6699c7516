"""Export of a version into a folder that travels with the repository, and import into an empty registry.

The folder holds the generator, its evaluation with the model card, and version.json with the version's tags.
"""

import json
import shutil
from pathlib import Path

from components.register.logged_model import log_model
from components.register.step import TAGS
from components.shared.mlflow import artifacts, promotion, registry, runs
from model.utils.errors import UserError
from model.utils.files import folder_aside

_KEPT = (*TAGS, "weights_sha256", "metrics", "metrics_protocol", "behind")


def export(uri: str, folder: Path) -> registry.Version:
    """Writes a version's files and tags into a folder, which is replaced as a whole.

    Raises:
        UserError: there is no such version; its files are missing or damaged; the folder is of something else.
    """
    version = registry.resolve(uri)
    weights = registry.fetch(uri)
    with folder_aside(folder, marker="version.json") as aside:
        for name in ("generator.json", "generator.safetensors"):
            shutil.copyfile(weights / name, aside / name)
        artifacts.download(version.evaluation, aside)
        described = {"schema_version": 1, "tags": {name: version.tags[name] for name in _KEPT if name in version.tags}}
        (aside / "version.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    return version


def adopt(folder: Path) -> registry.Version:
    """Registers what `export` wrote, with the tags it had, and promotes it if there is no champion.

    The version is made last, when its files are in MLflow. So a crash leaves at most a run, or a version without an
    alias; the next call resumes from there.

    Raises:
        UserError: a file is missing or damaged; MLflow cannot be used.
    """
    tags, identity = _described(folder)
    if registry.checksum(folder) != identity["weights_sha256"]:
        raise UserError(f"{folder}: generator.safetensors is not the one that version.json names; fetch it again.")
    version = registry.find(identity)
    if version is None:
        with runs.start_run("import") as run:
            run.log_artifact(folder / "evaluation")
            model_id = log_model(folder, run, identity)
        version = registry.create(model_id, run.id, tags)
    if registry.champion() is None:
        promotion.promote(version.number, "imported into a registry without a champion")
    return registry.get(version.number)


def find_adopted(folder: Path) -> registry.Version | None:
    """Returns the version that `adopt` made of a folder; None when there is none.

    Raises:
        UserError: version.json is missing or damaged; MLflow cannot be used.
    """
    return registry.find(_described(folder)[1])


def _described(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the tags of an exported version, and those among them that tell it from others."""
    try:
        tags = dict(json.loads((folder / "version.json").read_bytes())["tags"])
        return tags, {name: tags[name] for name in ("weights_sha256", "data_version")}
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder / 'version.json'} is missing or damaged; fetch {folder} again.") from None
