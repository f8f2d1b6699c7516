"""KFP component of the choose step."""

from kfp import dsl

from components.shared.component import component


@component
def choose(
    models: dsl.Input[list[dsl.Model]],
    evaluations: dsl.Input[list[dsl.Artifact]],
    variants: list,
    origins: list,
    config: dict,
    code: str,
    model: dsl.Output[dsl.Model],
    evaluation: dsl.Output[dsl.Artifact],
    comparison: dsl.Output[dsl.HTML],
    origin: dsl.OutputPath(dict),
):
    """Passes on the best variant of a run and compares all; a single variant is passed on whatever its figures are.

    Args:
        models: Output of train for each variant.
        evaluations: Output of evaluate for each variant, in the same order.
        variants: Name of each variant, in the same order.
        origins: Tags of each variant's version, in the same order.
        config: Section `choose` of params.yaml.
        code: Hash of the code behind this step; it keys the cache.
        model: The model of the best variant.
        evaluation: The evaluation of the best variant; comparison.html where there are several.
        comparison: The variants side by side, as a page.
        origin: The tags of the best variant's version.
    """
    import json
    from pathlib import Path

    from components.choose.config import ChooseConfig
    from components.choose.step import choose as run
    from components.shared.step import step
    from model.utils.settings import check

    with step("choose", choose=code):
        folders = [(Path(one.path), Path(scores.path)) for one, scores in zip(models, evaluations, strict=True)]
        best = run(
            {variant["name"]: pair for variant, pair in zip(variants, folders, strict=True)},
            Path(model.path),
            Path(evaluation.path),
            Path(comparison.path),
            check(ChooseConfig, config, "choose"),
        )
        Path(origin).write_text(json.dumps(origins[best]), encoding="utf-8")
