"""Looks up runs in Kubeflow's API: who was canceled, which step failed, and which earlier runs have ended.

An exit task is told a state, too (`PipelineTaskFinalStatus`), but in Kubeflow Pipelines 2.17 it may be wrong: it is the
state of the exit handler's group in ML Metadata. A launcher renews that state when its step ends. So a run that a
condition ends early is RUNNING, for no step ends after the condition, and a group with an attempt that failed stays
FAILED after the next attempt has succeeded.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests

from components.shared.machine.pipeline_run import on_kubeflow, pipeline_run_id

API = "COLORIZE_KFP_API"
"""Environment variable of the API's address; a pod of a run asks the Service of namespace kubeflow by default."""

_SERVICE = "http://ml-pipeline.kubeflow:8888"
_ENDED = ("SUCCEEDED", "FAILED", "CANCELED")
_EARLIER = 20  # runs that an exit task looks back on


@dataclass(frozen=True)
class Run:
    """Holds a run as Kubeflow knows it.

    Attributes:
        id: of the run.
        name: for people.
        state: of Kubeflow; an exit task finds its own run RUNNING, or CANCELING.
        failed_step: the step that failed last; empty where none is known.
        created: time in ISO 8601, UTC.
        kin: ids of experiment and pipeline.
    """

    id: str
    name: str
    state: str
    failed_step: str
    created: str
    kin: tuple[str, str]

    @property
    def canceled(self) -> bool:
        return self.state in ("CANCELING", "CANCELED")


def this_run() -> Run | None:
    """Returns the run that this pod belongs to; None outside Kubeflow.

    Raises:
        RequestException: the API cannot be reached, or refuses. With profiles it does not know a step's account.
    """
    known = on_kubeflow() or API in os.environ
    return _run(_get(f"runs/{pipeline_run_id()}", {})) if known else None


def ended_before(run: Run) -> list[Run]:
    """Returns the latest runs of the same experiment and pipeline that began before this one and have ended.

    Raises:
        RequestException: as for `this_run`.
    """
    asked = {"experiment_id": run.kin[0], "page_size": str(_EARLIER), "sort_by": "created_at desc"}
    found = map(_run, _get("runs", asked).get("runs") or [])
    return [other for other in found if other.kin == run.kin and other.created < run.created and other.state in _ENDED]


def _get(path: str, query: Mapping[str, str]) -> dict[str, Any]:
    with requests.Session() as session:
        session.trust_env = False  # no proxy stands between pods
        address = f"{os.environ.get(API, _SERVICE).rstrip('/')}/apis/v2beta1/{path}"
        answer = session.get(address, params=query, timeout=10, allow_redirects=False)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


def _run(found: Mapping[str, Any]) -> Run:
    return Run(
        id=found["run_id"],
        name=found.get("display_name", ""),
        state=found.get("state", ""),
        failed_step=_failed_step((found.get("run_details") or {}).get("task_details") or []),
        created=found.get("created_at", ""),
        kin=(found.get("experiment_id", ""), (found.get("pipeline_version_reference") or {}).get("pipeline_id", "")),
    )


def _failed_step(tasks: Sequence[Mapping[str, Any]]) -> str:
    """Returns the step whose node failed and began last: groups begin before what is in them.

    Below each step is a node named executor, and before it runs its driver. Argo counts attempts in brackets, as in
    train(0); the node without brackets fails when the last attempt has.
    """
    failed = [
        (task.get("start_time", ""), name)
        for task in tasks
        if task.get("state") == "FAILED" and "(" not in (name := task["display_name"]) and name != "executor"
    ]
    return max(failed, key=lambda one: (one[0], one[1].endswith("-driver")), default=("", ""))[1].removesuffix(
        "-driver"
    )
