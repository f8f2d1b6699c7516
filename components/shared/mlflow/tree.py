"""The tree of MLflow runs of a pipeline run: a parent, and below it one run for each step that logs.

Kubeflow's MLflow plugin makes such a tree, with a run for each nested graph too, and puts MLFLOW_RUN_ID into each
step's pod if asked. Without the plugin, and on a laptop, resolve makes the parent. Either parent carries the pipeline
run's id in the same tag.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUN_ID = "KFP_RUN_ID"
"""Environment variable of the pipeline run's id. On Kubeflow it comes from the pod's label, outside the cache key."""

FAILURE = "failure"
"""Tag of a step's run: the reason of its failure."""

KILLED = "the process ended without an error message (killed or out of memory)"
"""Reason of a failure that no step has noted."""

_PARENT = "mlflow.parentRunId"
_PIPELINE_RUN = "kfp.pipeline_run_id"
_PLUGINS = "kfp.pipeline_run_url"  # a tag of the plugin's parent alone


def pipeline_run_id() -> str:
    """Returns the pipeline run's id; empty when a step runs alone."""
    return os.environ.get(RUN_ID, "")


def find(client: "MlflowClient", experiment: str) -> str | None:
    """Returns the id of this pipeline run's parent run; None when there is none yet."""
    found = _search(client, experiment, _PIPELINE_RUN, pipeline_run_id())
    return found[0].info.run_id if found else None


def ensure_parent_run(client: "MlflowClient", experiment: str) -> str:
    """Returns the parent run of this pipeline run; makes it where it is missing.

    MLflow cannot make it at most once for several callers. So resolve, which runs first and alone, is the first caller.

    Args:
        client: of any store.
        experiment: its id.
    """
    run = pipeline_run_id()
    parent = find(client, experiment)
    return parent or str(client.create_run(experiment, tags={_PIPELINE_RUN: run}, run_name=run).info.run_id)


def child(client: "MlflowClient", experiment: str, parent: str, name: str) -> str | None:
    """Returns the id of the step's run of an earlier attempt, or of the plugin's run that the pod was not told of."""
    found = [run for run in _leaves(client, experiment, parent) if run.info.run_name == name]
    return found[0].info.run_id if found else None


def failed_step(client: "MlflowClient", experiment: str, parent: str) -> tuple[str, str] | None:
    """Returns the name of the step that failed the pipeline run, and the reason; None when no failure is known.

    The exit task calls it when no other step is at work: a run of ours that is still open belongs to a killed step.
    Kubeflow's plugin keeps some of its runs open for longer.
    """
    ends = ("FAILED", "RUNNING") if _ours(client, parent) else ("FAILED",)
    ended = [run for run in _leaves(client, experiment, parent) if run.info.status in ends]
    if not ended:
        return None
    run = min(ended, key=lambda run: FAILURE not in run.data.tags)
    return run.info.run_name, run.data.tags.get(
        FAILURE, "the process ended without an error message (killed or out of memory)"
    )


def close(client: "MlflowClient", experiment: str, parent: str, succeeded: bool, tags: Mapping[str, str]) -> None:
    """Ends the parent run, and the runs that killed steps left open. Kubeflow's plugin ends its own."""
    if not _ours(client, parent):
        return
    for run in _search(client, experiment, _PARENT, parent):
        if run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "FAILED")
    for key, value in tags.items():
        client.set_tag(parent, key, value)
    client.set_terminated(parent, "FINISHED" if succeeded else "FAILED")


def _ours(client: "MlflowClient", parent: str) -> bool:
    return _PLUGINS not in client.get_run(parent).data.tags


def _leaves(client: "MlflowClient", experiment: str, parent: str) -> list["Run"]:
    """Returns the runs below that have none below themselves: steps, not nested graphs."""
    below = _search(client, experiment, _PARENT, parent)
    return [leaf for run in below for leaf in _leaves(client, experiment, run.info.run_id) or [run]]


def _search(client: "MlflowClient", experiment: str, tag: str, value: str) -> list["Run"]:
    """Returns the runs with a tag, newest first; deleted runs are left out."""
    return list(client.search_runs([experiment], f"tags.`{tag}` = '{value}'"))
