"""Resolves aliases (latest data, champion) to fixed versions at the start of a run, so that caches notice a move."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.shared.machine.code import require_submitted
from components.shared.mlflow import connection, registry, runs
from components.shared.photos.listing import LATEST
from components.shared.photos.source import remote
from components.shared.s3.client import is_s3
from model.utils.errors import UserError
from model.utils.settings import whole_numbers


@dataclass(frozen=True)
class Resolved:
    """Holds what a run is made of.

    Attributes:
        data_version: MD5 of the photographs as DVC computes it, or a hash of the contents of a plain prefix.
        champion: URI of the version in service; empty when there is none.
        variants: name and train of each variant, with a version in place of an alias in `train.init`.
        origins: tags of each variant's version: those that were given, its recipe, data_version, made_by (a hash of
            data, configuration and code), and began_with, the URI of a version, if training begins with one.
        nothing_new: sentence that names the versions that every variant was made as already, each promoted or
            rejected; empty when one is new. A version whose run died before its verdict does not count: the run goes
            on from its caches.
        judged_already: sentence that names the version that the run would judge again with the same verdict; empty when
            there is none: other rules, code or images, another champion since, or a promotion that was undone.
    """

    data_version: str
    champion: str
    variants: list[dict[str, Any]]
    origins: list[dict[str, str]]
    nothing_new: str
    judged_already: str


def resolve(
    photos: str,
    data_version: str,
    preprocess: Mapping[str, Any],
    variants: Sequence[Mapping[str, Any]],
    codes: Mapping[str, str],
    tags: Mapping[str, str],
) -> Resolved:
    """Resolves the names that a run is started with.

    Args:
        photos: where the photographs are; for `LATEST` a DVC remote or photographs, s3://bucket/prefix.
        data_version: names the photographs, such as their MD5 as DVC computes it; or `LATEST`.
        preprocess: section `preprocess`, which was checked when the run was started.
        variants: name and train (section `train`) of each.
        codes: hash of the code behind each step of the run, as it was submitted; preprocess and train make a version.
        tags: tags of a version that are known beforehand.

    Raises:
        UserError: nothing was published, or no photograph is there; `train.init` names no version; MLflow or S3 cannot
            be reached, or MLflow is a file on Kubeflow; the image holds other code than the run was submitted with.
    """
    require_submitted(codes, tags.get("git_commit", ""))
    connection.require_shared()
    if data_version == LATEST:
        data_version = _latest(photos)
    settled: list[dict[str, Any]] = []
    origins: list[dict[str, str]] = []
    made: list[registry.Version | None] = []
    for variant in variants:
        train = whole_numbers(variant["train"])
        listed = [data_version, [whole_numbers(preprocess), codes["preprocess"]], [train, codes["train"]]]
        made_by = hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()
        origin = {**tags, "recipe": variant["name"], "data_version": data_version, "made_by": made_by}
        if train["init"].startswith("models:"):
            origin["began_with"] = train["init"] = _beginning(train["init"], made_by)
        settled.append({"name": variant["name"], "train": train})
        origins.append(origin)
        found = registry.find_all({"made_by": made_by})
        made.append(next((one for one in found if one.tags.keys() & {"promoted_at", "rejected_at"}), None))
    runs.begin_pipeline_run()
    champion = registry.champion()
    nothing_new = ""
    if all(made):
        numbers = ", ".join(str(version.number) for version in made if version)
        one = f"version {numbers} was" if len(made) == 1 else f"versions {numbers} were"
        nothing_new = f"Nothing is new: {one} made of data {data_version} with this code and recipe. No training."
    judged_already = _judged_already(tags.get("judged_by", ""), data_version, champion)
    return Resolved(data_version, champion.uri if champion else "", settled, origins, nothing_new, judged_already)


def _judged_already(judged_by: str, data_version: str, champion: registry.Version | None) -> str:
    beside = str(champion.number) if champion else "none"
    found = registry.find_all({"judged_by": judged_by, "data_version": data_version}) if judged_by else []
    for version in found:
        decided = {"rejected_at", "proposed_at"} & version.tags.keys() and version.tags.get("judged_beside") == beside
        if decided or beside == str(version.number):
            return (
                f"Nothing is new: version {version.number} was made of data {data_version} with this code and recipe, "
                "and judged by these rules beside this champion. `colorize submit --again` runs all the same."
            )
    return ""


def _beginning(init: str, made_by: str) -> str:
    """Returns the URI of the version that an alias stands for.

    A version that this very training made would be trained once more at every run. In its place stands the version
    that its own training began with.
    """
    version = registry.resolve(init, "train.init")
    return version.tags["began_with"] if version.tags.get("made_by") == made_by else version.uri


def _latest(photos: str) -> str:
    if not is_s3(photos):
        raise UserError(f"{photos}: only S3 knows the latest version of photographs; name a version, or s3://...")
    with remote(photos) as found:
        return found.latest()
