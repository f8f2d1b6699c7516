"""KFP component of the resolve step."""

from kfp import dsl

from components.shared.component import component


@component
def resolve(
    photos: str,
    data_version: str,
    only_if_changed: bool,
    preprocess_config: dict,
    variants: list,
    preprocess_code: str,
    inspect_code: str,
    train_code: str,
    evaluate_code: str,
    choose_code: str,
    tags: dict,
    version: dsl.OutputPath(str),
    champion: dsl.OutputPath(str),
    settled: dsl.OutputPath(list[dict]),
    origins: dsl.OutputPath(list),
) -> bool:
    """Resolves names that move (latest data, champion) to fixed versions. Returns whether there is something to train.

    Args:
        photos: Where the photographs are.
        data_version: Names the photographs, such as their MD5 as DVC computes it; or latest.
        only_if_changed: Whether a run ends here when its versions were made before, or its verdict is known.
        preprocess_config: Section `preprocess` of params.yaml.
        variants: The name of each variant and its section `train`.
        preprocess_code: Hash of the code behind the step.
        inspect_code: Hash of the code behind the step.
        train_code: Hash of the code behind the step.
        evaluate_code: Hash of the code behind the step.
        choose_code: Hash of the code behind the step.
        tags: Tags of the registered version that are known beforehand; a variant's name is its recipe.
        version: Version of the photographs.
        champion: URI of the model in service, models:/colorizer/N, or empty when there is none.
        settled: The variants with versions in place of aliases.
        origins: All tags of each variant, in the same order.
    """
    import json
    from pathlib import Path

    from components.resolve.step import resolve as run
    from components.shared.mlflow import runs
    from components.shared.photos.listing import LATEST
    from components.shared.step import step

    with step("resolve"):
        before = {"preprocess": preprocess_code, "inspect": inspect_code, "train": train_code}
        codes = before | {"evaluate": evaluate_code, "choose": choose_code}
        found = run(photos, data_version, preprocess_config, variants, codes, tags)
        Path(version).write_text(found.data_version, encoding="utf-8")
        Path(champion).write_text(found.champion, encoding="utf-8")
        Path(settled).write_text(json.dumps(found.variants), encoding="utf-8")
        Path(origins).write_text(json.dumps(found.origins), encoding="utf-8")
        nothing_new = found.nothing_new if data_version == LATEST else found.judged_already
        if only_if_changed and nothing_new:
            print(nothing_new, flush=True)
            runs.conclude("nothing new", nothing_new)
            return False
        return True
