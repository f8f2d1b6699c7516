"""The pipeline run that a step belongs to: its id, and whether Kubeflow started it."""

import os

RUN_ID = "KFP_RUN_ID"
"""Environment variable of the pipeline run's id. On Kubeflow it comes from the pod's label, outside the cache key."""

LOCAL = "local-"
"""Beginning of the id of a run that `colorize run` started."""


def pipeline_run_id() -> str:
    """Returns the pipeline run's id; empty when a step runs alone."""
    return os.environ.get(RUN_ID, "")


def on_kubeflow() -> bool:
    """Returns True in a pod of a run that Kubeflow started.

    Kubernetes sets its variable in every pod, a notebook's too; so `colorize run` in a notebook is told by its id.
    """
    run = pipeline_run_id()
    return "KUBERNETES_SERVICE_HOST" in os.environ and bool(run) and not run.startswith(LOCAL)
