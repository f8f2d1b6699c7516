"""Arguments of the graph, the same wherever it runs."""

import hashlib
import json
from typing import Any

from components.images.hashes import code_version
from components.shared.machine.code import git_commit
from pipeline.graph import retraining
from pipeline.variants import Variants


def arguments(
    variants: Variants, photos: str, data_version: str, checkpoints: str, images: str, only_if_changed: bool = False
) -> dict[str, Any]:
    """Returns the arguments of `retraining`, except for those that have a default.

    Args:
        variants: at least one.
        photos: folder of photographs, or on a cluster s3://bucket/prefix of a DVC remote or of photographs.
        data_version: names the photographs, such as their MD5 as DVC computes it; or latest.
        checkpoints: folder that outlives a lost attempt, or on a cluster s3://bucket/prefix.
        images: the steps' images with digests, for the record.
        only_if_changed: whether a run ends at once when nothing could come out differently.

    Returns:
        The arguments. Their tag judged_by is a hash of all that a verdict depends on, but for data and champion.
    """
    given: dict[str, Any] = {
        "photos": photos,
        "data_version": data_version,
        "recipe": variants.names,
        "variants": [{"name": name, "train": one.sections()["train"]} for name, one in variants.configs.items()],
        "checkpoints": checkpoints,
        "tags": {"git_commit": git_commit(), "image_digest": images},
        "only_if_changed": only_if_changed,
    }
    sections = variants.shared.sections()
    for name in retraining.pipeline_spec.root.input_definitions.parameters:
        step, _, kind = name.rpartition("_")
        if kind == "config":
            given[name] = sections[step]
        elif kind == "code":
            given[name] = code_version(step)
    judging = {
        name: value for name, value in given.items() if name == "variants" or name.endswith(("_config", "_code"))
    }
    listed = json.dumps([judging, images], sort_keys=True)
    given["tags"]["judged_by"] = hashlib.sha256(listed.encode()).hexdigest()
    return given
