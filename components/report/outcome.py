"""Derives how a pipeline run ended, from what its steps left in MLflow and from what Kubeflow's API says."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.report import kubeflow
from components.shared.mlflow import tree

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SUCCESSES = ("promoted", "proposed", "rejected", "unchanged", "nothing new")
"""Outcomes that a step concludes (`runs.conclude`). The others are failed, canceled and unknown."""

_CANCELED = "Somebody canceled the run."
_SILENT = "no step left a reason: a pod was killed or never started; the run's page says more"


@dataclass(frozen=True)
class Outcome:
    """Holds how a run ended: in one word, the step that failed or was canceled if one is known, and a sentence."""

    word: str
    step: str = ""
    message: str = ""


def of_steps(client: "MlflowClient", experiment: str, parent: "Run", run: kubeflow.Run | None) -> Outcome:
    """Returns the outcome of a run whose MLflow tree can be read.

    A run that no step has concluded has failed: the exit task runs when nothing else is at work.

    Args:
        client: of any store.
        experiment: its id.
        parent: the run's parent run in MLflow.
        run: as Kubeflow knows it; None where its API says nothing.
    """
    concluded = tree.conclusion(parent)
    if concluded:
        return Outcome(concluded[0], message=concluded[1])
    named = run.failed_step if run else ""
    failure = tree.failure(client, experiment, parent, named)
    step, reason = (failure.step, failure.reason) if failure else (named, _SILENT)
    return Outcome("canceled", step, _CANCELED) if run and run.canceled else Outcome("failed", step, reason)


def of_states(state: str, message: str, run: kubeflow.Run | None) -> Outcome:
    """Returns the outcome of a run whose MLflow tree cannot be read.

    Args:
        state: as the exit task was told; see `kubeflow` for what it is worth.
        message: that came with it.
        run: as Kubeflow knows it; None where its API says nothing.
    """
    step = run.failed_step if run else ""
    if run and run.canceled:
        return Outcome("canceled", step, _CANCELED)
    if step or (state == "FAILED" and not run):
        return Outcome("failed", step, message or _SILENT)
    return Outcome("unknown", "", message or f"Kubeflow says {state}; only MLflow knows what came of the run.")
