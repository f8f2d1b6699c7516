"""The arguments that the graphs take, the same wherever they run."""

from components.shared.machine.code import code_version, git_commit
from model.config import Config
from pipeline.variants import Variants

TRIAL_STEPS = ("preprocess", "train", "evaluate")
CONFIGURED_STEPS = ("preprocess", "inspect", "train", "evaluate")
CACHED_STEPS = ("partition", "preprocess", "merge", "inspect", "train", "evaluate")


def trial_arguments(config: Config, photos: str, data_version: str, checkpoints: str) -> dict[str, object]:
    """Those of `trial`, which `retraining` takes too.

    Args:
        config: All sections.
        photos: Folder of photographs, or on a cluster s3://bucket/prefix of a DVC remote or of photographs.
        data_version: Names the photographs, such as their MD5 as DVC computes it.
        checkpoints: Folder that outlives a lost attempt, or on a cluster s3://bucket/prefix.
    """
    return {
        "photos": photos,
        "data_version": data_version,
        "checkpoints": checkpoints,
        **_configured(config, TRIAL_STEPS),
    }


def retraining_arguments(
    config: Config,
    recipe: str,
    photos: str,
    data_version: str,
    checkpoints: str,
    images: str,
    only_if_changed: bool = False,
) -> dict[str, object]:
    """Those of `retraining`.

    Args:
        config: All sections.
        recipe: Its name, for the record.
        photos: As in `trial_arguments`.
        data_version: As in `trial_arguments`, or latest.
        checkpoints: As in `trial_arguments`.
        images: The steps' images, with digests, for the record.
        only_if_changed: Whether a run ends at once when a version was made of the same data, code and recipe.
    """
    return {
        "photos": photos,
        "data_version": data_version,
        "checkpoints": checkpoints,
        **_configured(config, CONFIGURED_STEPS),
        "recipe": recipe,
        "register_config": config.sections()["register"],
        "tags": {"git_commit": git_commit(), "recipe": recipe, "image_digest": images},
        "only_if_changed": only_if_changed,
    }


def sweep_arguments(
    variants: Variants, photos: str, data_version: str, checkpoints: str, images: str, only_if_changed: bool = False
) -> dict[str, object]:
    """Those of `sweep`; arguments as of `retraining_arguments`."""
    shared = retraining_arguments(
        variants.shared, variants.names, photos, data_version, checkpoints, images, only_if_changed
    )
    del shared["train_config"]
    sections = {name: config.sections() for name, config in variants.configs.items()}
    return {
        **shared,
        "choose_config": variants.shared.sections()["choose"],
        "variants": [{"variant": name, "train": each["train"]} for name, each in sections.items()],
    }


def _configured(config: Config, steps: tuple[str, ...]) -> dict[str, object]:
    """Each step's section, and the hash of the code behind it."""
    sections = config.sections()
    return {
        **{f"{name}_config": sections[name] for name in steps},
        **{f"{name}_code": code_version(name) for name in steps},
    }
