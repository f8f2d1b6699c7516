"""KFP component of the evaluate step."""

from kfp import dsl

from components.shared.component import component


@component
def evaluate(
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    champion: str,
    variant: dict,
    config: dict,
    code: str,
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
):
    """Scores a model beside the baselines and the champion on the test split, or another that the settings name.

    Args:
        dataset: Output of preprocess.
        model: The challenger, from train.
        champion: URI of the model in service, models:/colorizer/N, or empty when there is none.
        variant: As in train; only its name matters here.
        config: Section `evaluate` of params.yaml.
        code: Hash of the code behind this step; it keys the cache.
        evaluation: metrics.json, report.html, samples.png, per_photograph.parquet, histograms.npz, contact_sheet.npz.
        metrics: The challenger's figures.
        report: The report as a page.
    """
    import shutil
    from pathlib import Path

    from components.evaluate.config import EvaluateConfig
    from components.evaluate.step import evaluate as run
    from components.shared.step import step
    from model.utils.settings import check

    with step(f"evaluate {variant['name']}", evaluate=code):
        scores = run(
            dataset.path,
            Path(model.path),
            Path(evaluation.path),
            check(EvaluateConfig, config, "evaluate"),
            champion=champion,
            variant=variant["name"],
        )
        for name, value in scores.items():
            if isinstance(value, float):
                metrics.log_metric(name, value)
        shutil.copyfile(Path(evaluation.path) / "metrics.json", metrics.path)
        shutil.copyfile(Path(evaluation.path) / "report.html", report.path)
