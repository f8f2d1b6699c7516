"""KFP face of the evaluate step."""

from kfp import dsl

from components.images.names import CPU_IMAGE


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def evaluate(
    dataset: dsl.Input[dsl.Dataset],
    generator: dsl.Input[dsl.Model],
    champion: str,
    config: dict,
    code: str,
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
    variant: str = "",
):
    """Scores challenger, champion and baselines on the test split.

    Args:
        dataset: What preprocess wrote.
        generator: The challenger.
        champion: URI of the model in service, models:/colorizer/N, or empty when there is none.
        config: The `evaluate` section of params.yaml.
        code: Hash of the code behind this step; it keys the cache.
        evaluation: metrics.json, report.html, samples.png, per_photograph.parquet.
        metrics: The challenger's figures.
        report: The report as a page.
        variant: Its name in a sweep; empty outside one.
    """
    import shutil
    from pathlib import Path

    from components.evaluate.step import evaluate as run
    from components.shared.step import step
    from model.config import EvaluateConfig, check

    with step(f"evaluate {variant}".rstrip()):
        scores = run(
            Path(dataset.path),
            Path(generator.path),
            Path(evaluation.path),
            check(EvaluateConfig, config, "evaluate"),
            champion=champion,
            variant=variant,
        )
        for name, value in scores.items():
            if isinstance(value, float):
                metrics.log_metric(name, value)
        shutil.copyfile(Path(evaluation.path) / "metrics.json", metrics.path)
        shutil.copyfile(Path(evaluation.path) / "report.html", report.path)
