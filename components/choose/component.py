"""KFP face of the choose step."""

from kfp import dsl

from components.images.names import CPU_IMAGE


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def choose(
    dataset: dsl.Input[dsl.Dataset],
    generators: dsl.Input[list[dsl.Model]],
    evaluations: dsl.Input[list[dsl.Artifact]],
    variants: list,
    config: dict,
    generator: dsl.Output[dsl.Model],
    evaluation: dsl.Output[dsl.Artifact],
    comparison: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    origin: dsl.OutputPath(dict),
):
    """Compares the variants of a sweep and hands the best one on.

    Args:
        dataset: What preprocess wrote.
        generators: What train wrote, a variant each.
        evaluations: What evaluate wrote, in the same order.
        variants: Name and origin of each, in the same order.
        config: The `choose` section of params.yaml.
        generator: The best one's.
        evaluation: The best one's.
        comparison: index.html, table.md, results.json, curves.png, histograms.png, pictures.png.
        page: The comparison as a page.
        origin: The best one's, what its version is tagged with.
    """
    import json
    import shutil
    from pathlib import Path

    from components.choose.step import choose as run
    from components.shared.step import step
    from model.config import ChooseConfig, check

    with step("choose") as notes:
        notes.update(comparison=comparison.path)
        best = run(
            Path(dataset.path),
            {
                variant["variant"]: (Path(model.path), Path(scores.path))
                for variant, model, scores in zip(variants, generators, evaluations, strict=True)
            },
            Path(comparison.path),
            check(ChooseConfig, config, "choose"),
        )
        shutil.copytree(generators[best].path, generator.path, dirs_exist_ok=True)
        shutil.copytree(evaluations[best].path, evaluation.path, dirs_exist_ok=True)
        shutil.copyfile(Path(comparison.path) / "index.html", page.path)
        Path(origin).write_text(json.dumps(variants[best]["origin"]), encoding="utf-8")
