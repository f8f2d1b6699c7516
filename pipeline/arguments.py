"""Arguments of the graph, the same wherever it runs."""

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
        only_if_changed: whether a run ends at once when every variant was made before.
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
    return given
