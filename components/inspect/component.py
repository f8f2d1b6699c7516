"""KFP component of the inspect step."""

from kfp import dsl

from components.shared.component import component


@component
def inspect(
    photos: str,
    dataset: dsl.Input[dsl.Dataset],
    champion: str,
    config: dict,
    code: str,
    inspection: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
):
    """Describes the dataset and its drift from the champion's photographs; may end the run before training.

    Args:
        photos: Folder of photographs, for pictures of what was rejected; those in S3 are not fetched again.
        dataset: What preprocess wrote.
        champion: URI of the model in service, models:/colorizer/N, or empty when there is none.
        config: The `inspect` section of params.yaml: limits of the drift.
        code: Hash of the code behind this step; it keys the cache.
        inspection: data.html, distributions.json, drift.json.
        report: The report as a page.
    """
    import shutil
    from pathlib import Path

    from components.inspect.config import InspectConfig
    from components.inspect.step import inspect as run
    from components.shared.s3.client import is_s3
    from components.shared.step import step
    from model.utils.settings import check

    with step("inspect", inspect=code):
        result = run(
            Path(dataset.path),
            None if is_s3(photos) else Path(photos),
            Path(inspection.path),
            check(InspectConfig, config, "inspect"),
            champion=champion,
        )
        shutil.copyfile(Path(inspection.path) / "data.html", report.path)
        for name, each in result["psi"].items():
            print(f"{name}: PSI {each['psi']:.3f}, {each['verdict']}")
        print(result["alarm"] or result["not_compared"] or "No drift.", flush=True)
