"""KFP face of the resolve step."""

from kfp import dsl

from components.images.names import CPU_IMAGE


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def resolve(
    photos: str,
    data_version: str,
    only_if_changed: bool,
    preprocess_config: dict,
    train_config: dict,
    preprocess_code: str,
    train_code: str,
    tags: dict,
    version: dsl.OutputPath(str),
    champion: dsl.OutputPath(str),
    training: dsl.OutputPath(dict),
    origin: dsl.OutputPath(dict),
) -> bool:
    """What the run is made of: names become versions. Says whether there is something to do.

    Args:
        photos: Where the photographs are.
        data_version: Names the photographs, such as their MD5 as DVC computes it; or latest.
        only_if_changed: Whether a run that would be made of what an earlier version was made of ends here.
        preprocess_config: Section `preprocess` of params.yaml.
        train_config: Section `train`.
        preprocess_code: Hash of the code behind the step.
        train_code: Hash of the code behind the step.
        tags: What is known beforehand of what the registered version is tagged with.
        version: Names the photographs; latest no more.
        champion: URI of the model in service, models:/colorizer/N, or empty when there is none.
        training: Section `train` with a version in place of an alias.
        origin: All tags.
    """
    import json
    from pathlib import Path

    from components.resolve.step import resolve as settle
    from components.shared.step import step
    from model.config import PreprocessConfig, TrainConfig, check

    with step("resolve"):
        found = settle(
            photos,
            data_version,
            check(PreprocessConfig, preprocess_config, "preprocess"),
            check(TrainConfig, train_config, "train"),
            {"preprocess": preprocess_code, "train": train_code},
        )
        Path(version).write_text(found.data_version, encoding="utf-8")
        Path(champion).write_text(found.champion, encoding="utf-8")
        Path(training).write_text(json.dumps(found.train_config), encoding="utf-8")
        Path(origin).write_text(json.dumps({**tags, **found.tags}), encoding="utf-8")
        if only_if_changed and found.made:
            print(
                f"Nothing is new: version {found.made.number} was made of data {found.data_version} with this code "
                "and recipe. No training.",
                flush=True,
            )
            return False
        return True


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def resolve_variants(
    photos: str,
    data_version: str,
    only_if_changed: bool,
    preprocess_config: dict,
    variants: list,
    preprocess_code: str,
    train_code: str,
    tags: dict,
    version: dsl.OutputPath(str),
    champion: dsl.OutputPath(str),
    settled: dsl.OutputPath(list),
) -> bool:
    """As `resolve`, for the variants of a sweep. Says whether any of them is new.

    Args:
        photos: As of `resolve`, like all that is not below.
        data_version: MD5 or latest.
        only_if_changed: Whether a sweep of variants that were all made already ends here.
        preprocess_config: Section `preprocess`.
        variants: Of each `variant`, its name, and `train`, its section `train`.
        preprocess_code: Hash of the code behind the step.
        train_code: Hash of the code behind the step.
        tags: Those known beforehand; each variant's name is its recipe.
        version: MD5 of the photographs.
        champion: URI of the model in service, or empty.
        settled: The variants with versions in place of aliases, and each one's `origin`: all tags.
    """
    import json
    from pathlib import Path

    from components.resolve.step import resolve as settle
    from components.shared.step import step
    from model.config import PreprocessConfig, TrainConfig, check

    with step("resolve"):
        preprocess = check(PreprocessConfig, preprocess_config, "preprocess")
        codes = {"preprocess": preprocess_code, "train": train_code}
        found = {
            variant["variant"]: settle(
                photos, data_version, preprocess, check(TrainConfig, variant["train"], "train"), codes
            )
            for variant in variants
        }
        first = next(iter(found.values()))
        Path(version).write_text(first.data_version, encoding="utf-8")
        Path(champion).write_text(first.champion, encoding="utf-8")
        listed = [
            {"variant": name, "train": one.train_config, "origin": {**tags, "recipe": name, **one.tags}}
            for name, one in found.items()
        ]
        Path(settled).write_text(json.dumps(listed), encoding="utf-8")
        if only_if_changed and all(one.made for one in found.values()):
            print(f"Nothing is new: every variant was made of data {first.data_version}. No training.", flush=True)
            return False
        return True
