"""The tree of MLflow runs of a pipeline run: a parent, and below it one run for each step that logs.

Kubeflow's MLflow plugin plants such a tree, with a run for each nested graph too, and if asked puts MLFLOW_RUN_ID into
each step's pod. Without it, and on a laptop, the first step that logs plants one. Either parent carries the pipeline
run's id as the tag that the plugin uses.
"""

import os
import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from model.utils.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUN_ID = "KFP_RUN_ID"
"""Environment: the pipeline run's id, on Kubeflow from the pod's label. An argument would be in the cache's key."""

FAILURE = "failure"
"""Tag of a step's run: what it died of."""

_PARENT = "mlflow.parentRunId"
_PIPELINE_RUN = "kfp.pipeline_run_id"
_PLUGINS = "kfp.pipeline_run_url"  # a tag of the plugin's parent alone
_CANDIDATE = "colorizer.candidate_for"
_PATIENCE = 90  # seconds


def pipeline_run_id() -> str:
    """The pipeline run's id; empty where a step runs by itself."""
    return os.environ.get(RUN_ID, "")


def find(client: "MlflowClient", experiment: str) -> str | None:
    """The parent of this pipeline run, None when nothing has been logged yet."""
    found = _search(client, experiment, _PIPELINE_RUN, pipeline_run_id())
    return found[0].info.run_id if found else None


def plant(client: "MlflowClient", experiment: str, stale: float = 30) -> str:
    """The parent of this pipeline run, made when there is none; one, however many steps ask at once.

    MLflow has no lock and no unique tag. So each makes a candidate and then looks around: who sees another's takes its
    own back and tries again after a random pause; who is alone is the parent, for whoever comes later sees it.

    Args:
        client: of any store.
        experiment: its id.
        stale: seconds after which a candidate's maker must have died; it needs a few hundred milliseconds.

    Raises:
        UserError: it cannot be settled.
    """
    run = pipeline_run_id()
    seen: dict[str, float] = {}
    began = time.monotonic()
    while time.monotonic() < began + _PATIENCE:
        parent = find(client, experiment)
        if parent:
            return parent
        made: str = client.create_run(experiment, tags={_CANDIDATE: run}, run_name=run).info.run_id
        others = {other.info.run_id for other in _search(client, experiment, _CANDIDATE, run)} - {made}
        if not others and not find(client, experiment):
            client.set_tag(made, _PIPELINE_RUN, run)
            client.delete_tag(made, _CANDIDATE)
            return made
        client.delete_run(made)
        for other in others:
            if time.monotonic() - seen.setdefault(other, time.monotonic()) > stale:
                client.delete_run(other)
        time.sleep(random.uniform(0, 1))
    raise UserError(f"MLflow: the steps of pipeline run {run} cannot agree on a parent run; start the run again.")


def child(client: "MlflowClient", experiment: str, parent: str, name: str) -> str | None:
    """The step's run that an earlier attempt began, or that the plugin made without putting it into the pod."""
    found = [run for run in _leaves(client, experiment, parent) if run.info.run_name == name]
    return found[0].info.run_id if found else None


def failed_step(client: "MlflowClient", experiment: str, parent: str) -> tuple[str, str] | None:
    """The step that ended the pipeline run, by its run's name, and what it died of; None when none is known to have.

    Asked by the exit task, when no other step is at work: a run of ours that is still open was a killed step's.
    Kubeflow's plugin keeps some open for longer.
    """
    ends = ("FAILED", "RUNNING") if _ours(client, parent) else ("FAILED",)
    ended = [run for run in _leaves(client, experiment, parent) if run.info.status in ends]
    if not ended:
        return None
    run = min(ended, key=lambda run: FAILURE not in run.data.tags)
    return run.info.run_name, run.data.tags.get(FAILURE, "it ended without a word (killed, or out of memory?)")


def close(client: "MlflowClient", experiment: str, parent: str, succeeded: bool, tags: Mapping[str, str]) -> None:
    """Ends the parent, and what a killed step left open. Kubeflow's plugin does that by itself."""
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
    """The runs below that have none below themselves: steps, and no nested graphs."""
    below = _search(client, experiment, _PARENT, parent)
    return [leaf for run in below for leaf in _leaves(client, experiment, run.info.run_id) or [run]]


def _search(client: "MlflowClient", experiment: str, tag: str, value: str) -> list["Run"]:
    """Runs with a tag, newest first; not those that were deleted."""
    return list(client.search_runs([experiment], f"tags.`{tag}` = '{value}'"))
