"""KFP face of the choose step."""

from kfp import dsl

from components.images.names import CPU_IMAGE


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def choose(
    generators: dsl.Input[list[dsl.Model]],
    evaluations: dsl.Input[list[dsl.Artifact]],
    variants: list,
    config: dict,
    generator: dsl.Output[dsl.Model],
    evaluation: dsl.Output[dsl.Artifact],
    comparison: dsl.Output[dsl.HTML],
    origin: dsl.OutputPath(dict),
):
    """Compares the variants of a sweep and hands the best one on.

    Args:
        generators: What train wrote, a variant each.
        evaluations: What evaluate wrote, in the same order.
        variants: Name and origin of each, in the same order.
        config: The `choose` section of params.yaml.
        generator: The best one's.
        evaluation: The best one's.
        comparison: The variants side by side, as a page; none of a single variant.
        origin: The best one's, what its version is tagged with.
    """
    import json
    from pathlib import Path

    from components.choose.step import choose as run
    from components.shared.step import step
    from model.config import ChooseConfig, check

    with step("choose") as notes:
        best = run(
            {
                variant["variant"]: (Path(model.path), Path(scores.path))
                for variant, model, scores in zip(variants, generators, evaluations, strict=True)
            },
            Path(generator.path),
            Path(evaluation.path),
            Path(comparison.path),
            check(ChooseConfig, config, "choose"),
        )
        if len(variants) > 1:
            notes.update(comparison=comparison.path)
        Path(origin).write_text(json.dumps(variants[best]["origin"]), encoding="utf-8")
