"""KFP face of the exit task."""

from kfp import dsl

from components.images import CPU_IMAGE


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def report_outcome(status: dsl.PipelineTaskFinalStatus, recipe: str, data_version: str):
    """Prints the outcome of the run as one line of JSON, for log collectors to find.

    Args:
        status: Filled in by Kubeflow Pipelines when everything else has ended.
        recipe: The run's recipe.
        data_version: The run's data version.
    """
    import json

    from components.command import step

    with step("report"):
        outcome = {
            "outcome": status.state,
            "message": status.error_message or "",
            "run": status.pipeline_job_resource_name,
            "recipe": recipe,
            "data_version": data_version,
        }
        print(json.dumps(outcome), flush=True)
