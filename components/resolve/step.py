"""The resolve step: what a run is made of, settled when it begins, for a schedule is written down long before.

Aliases become versions, so that caches notice when they move: "latest" of the data, the champion, what training begins
with.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.shared.mlflow import registry, runs
from components.shared.photos.remote import LATEST
from components.shared.photos.source import remote
from components.shared.s3.client import is_s3
from model.config import PreprocessConfig, TrainConfig
from model.utils.errors import UserError


@dataclass(frozen=True)
class Ingredients:
    """What a run is made of.

    Attributes:
        data_version: MD5 of the photographs as DVC computes it, or a hash of what a plain prefix holds.
        train_config: Section `train`, with a version in place of an alias in `init`.
        champion: URI of the version in service; empty when there is none.
        tags: What a version is tagged with for what it was made of: data_version, made_by (a hash of data,
            configuration and code), and began_with, the URI of a version, if training begins with one.
        made: A version that was made of all this already, and promoted or rejected. Of one whose run died before that,
            caches have what it takes to finish.
    """

    data_version: str
    train_config: dict[str, Any]
    champion: str
    tags: dict[str, str]
    made: registry.Version | None


def resolve(
    photos: str, data_version: str, preprocess: PreprocessConfig, train: TrainConfig, codes: Mapping[str, str]
) -> Ingredients:
    """Settles what a run is made of.

    Args:
        photos: Where the photographs are; for `LATEST` a DVC remote or photographs, s3://bucket/prefix.
        data_version: Names the photographs, such as their MD5 as DVC computes it; or `LATEST`.
        preprocess: Section `preprocess`.
        train: Section `train`.
        codes: Hash of the code behind the steps preprocess and train.

    Raises:
        UserError: nothing was published, or no photograph is there; `train.init` names no version; MLflow or S3 cannot
            be reached.
    """
    if data_version == LATEST:
        data_version = _latest(photos)
    sections = {"preprocess": preprocess.model_dump(mode="json"), "train": train.model_dump(mode="json")}
    listed = [data_version, *([section, codes[name]] for name, section in sections.items())]
    made_by = hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()
    tags = {"data_version": data_version, "made_by": made_by}
    if train.init.startswith("models:"):
        tags["began_with"] = sections["train"]["init"] = _beginning(train.init, made_by)
    runs.begin_pipeline_run()
    champion = registry.champion()
    found = registry.find_all({"made_by": made_by})
    made = next((version for version in found if version.tags.keys() & {"promoted_at", "rejected_at"}), None)
    return Ingredients(data_version, sections["train"], champion.uri if champion else "", tags, made)


def _beginning(init: str, made_by: str) -> str:
    """The version that an alias means.

    A version that this very training made would be trained once more at every run: then it is where that one began.
    """
    version = registry.resolve(init)
    return version.tags["began_with"] if version.tags.get("made_by") == made_by else version.uri


def _latest(photos: str) -> str:
    if not is_s3(photos):
        raise UserError(f"{photos}: only S3 knows the latest version of photographs; name a version, or s3://...")
    with remote(photos) as found:
        return found.latest()
