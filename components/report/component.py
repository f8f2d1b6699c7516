"""KFP component of the exit task."""

from kfp import dsl

from components.shared.component import component


@component
def report(status: dsl.PipelineTaskFinalStatus, recipe: str, data_version: str):
    """Tells how the run ended: as one line of JSON for log collectors, and to the webhook if there is one.

    Args:
        status: Filled in by Kubeflow Pipelines when everything else has ended.
        recipe: The run's recipe.
        data_version: The run's data version.
    """
    from components.report.step import report as run
    from components.shared.step import step

    with step("report"):
        run(status.state, status.error_message or "", recipe, data_version)
