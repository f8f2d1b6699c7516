"""The tree of MLflow runs of a pipeline run: a parent, and below it one run for each step that logs.

Kubeflow's MLflow plugin makes such a tree, with a run for each nested graph too, and puts MLFLOW_RUN_ID into each
step's pod if asked. Without the plugin, and on a laptop, resolve makes the parent. Either parent carries the pipeline
run's id in the same tag.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.shared.machine.pipeline_run import pipeline_run_id

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FAILURE = "failure"
"""Tag of a step's run: the reason of its failure."""

KILLED = "the process ended without an error message (killed or out of memory)"
"""Reason of a failure that no step has noted."""

REPORTED = "reported"
"""Tag of a parent run: the outcome that people were told."""

_OUTCOME, _SENTENCE = "outcome", "outcome.sentence"  # tags of a parent run: what its last step concluded
_PARENT = "mlflow.parentRunId"
_PIPELINE_RUN = "kfp.pipeline_run_id"
_PLUGINS = "kfp.pipeline_run_url"  # a tag of the plugin's parent alone


@dataclass(frozen=True)
class Failure:
    """Holds the step that failed a pipeline run, and the reason."""

    step: str
    reason: str


def find(client: "MlflowClient", experiment: str, run: str = "") -> "Run | None":
    """Returns the parent run of a pipeline run, this one by default; None when there is none yet."""
    found = _search(client, experiment, _PIPELINE_RUN, run or pipeline_run_id())
    return found[0] if found else None


def ensure_parent_run(client: "MlflowClient", experiment: str, run: str = "") -> str:
    """Returns the id of a pipeline run's parent run; makes it where it is missing.

    MLflow cannot make it at most once for several callers. So resolve, which runs first and alone, is the first caller.

    Args:
        client: of any store.
        experiment: its id.
        run: id of the pipeline run; this one by default.
    """
    run = run or pipeline_run_id()
    parent = find(client, experiment, run)
    if parent:
        return str(parent.info.run_id)
    return str(client.create_run(experiment, tags={_PIPELINE_RUN: run}, run_name=run).info.run_id)


def child(client: "MlflowClient", experiment: str, parent: str, name: str) -> str | None:
    """Returns the id of the step's run of an earlier attempt, or of the plugin's run that the pod was not told of."""
    found = [run for run in _leaves(client, experiment, parent) if run.info.run_name == name]
    return found[0].info.run_id if found else None


def conclude(client: "MlflowClient", experiment: str, outcome: str, sentence: str) -> None:
    """Notes on the parent run how this pipeline run ended. The step that decides it calls this last of all."""
    parent = ensure_parent_run(client, experiment)
    client.set_tag(parent, _SENTENCE, sentence)
    client.set_tag(parent, _OUTCOME, outcome)


def conclusion(parent: "Run") -> tuple[str, str] | None:
    """Returns the outcome and the sentence that `conclude` noted; None where no step came that far."""
    tags = parent.data.tags
    return (tags[_OUTCOME], tags.get(_SENTENCE, "")) if _OUTCOME in tags else None


def failure(client: "MlflowClient", experiment: str, parent: "Run", step: str = "") -> Failure | None:
    """Returns the failure that ended a pipeline run; None when the tree has none.

    Call it when no other step is at work: a run of ours that is still open then belongs to a killed step. Kubeflow's
    plugin keeps some of its runs open for longer. An attempt that failed before another one succeeded may leave a
    failed run, so the step that began last counts; of its runs, such as those of several variants, one with a reason.

    Args:
        client: of any store.
        experiment: its id.
        parent: run of the pipeline run.
        step: the step that failed, where it is known.
    """
    ends = ("FAILED", "RUNNING") if _ours(parent) else ("FAILED",)
    ended = [run for run in _leaves(client, experiment, parent.info.run_id) if run.info.status in ends]
    if step:
        ended = [run for run in ended if run.info.run_name.split()[0] == step]
    if not ended:
        return None
    last = max(ended, key=lambda run: run.info.start_time).info.run_name.split()[0]
    of_last = [run for run in ended if run.info.run_name.split()[0] == last]
    run = min(of_last, key=lambda run: FAILURE not in run.data.tags)
    return Failure(run.info.run_name, run.data.tags.get(FAILURE, KILLED))


def close(client: "MlflowClient", experiment: str, parent: "Run", succeeded: bool, tags: Mapping[str, str]) -> None:
    """Tags the parent run and ends it, with the runs that killed steps left open. Kubeflow's plugin ends its own."""
    run_id = parent.info.run_id
    for key, value in tags.items():
        client.set_tag(run_id, key, value)
    if not _ours(parent):
        return
    for run in _search(client, experiment, _PARENT, run_id):
        if run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "FAILED")
    client.set_terminated(run_id, "FINISHED" if succeeded else "FAILED")


def told(parent: "Run") -> str:
    """Returns the outcome that people were told; empty when nobody was. Releases before 0.2 left no tag of it."""
    ended = _ours(parent) and parent.info.status != "RUNNING"
    return str(parent.data.tags.get(REPORTED, "unknown" if ended else ""))


def _ours(parent: "Run") -> bool:
    return _PLUGINS not in parent.data.tags


def _leaves(client: "MlflowClient", experiment: str, parent: str) -> list["Run"]:
    """Returns the runs below that have none below themselves: steps, not nested graphs."""
    below = _search(client, experiment, _PARENT, parent)
    return [leaf for run in below for leaf in _leaves(client, experiment, run.info.run_id) or [run]]


def _search(client: "MlflowClient", experiment: str, tag: str, value: str) -> list["Run"]:
    """Returns the runs with a tag, newest first; deleted runs are left out."""
    return list(client.search_runs([experiment], f"tags.`{tag}` = '{value}'"))
