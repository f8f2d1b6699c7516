"""Argo's workflow of a retraining run, written as the controller of Kubeflow Pipelines 2.17 writes it.

Each template is wrapped in a Retry node, which Kubeflow's defaults of the controller ask for; a step is a driver's pod
and a graph of one more pod, `executor`; a loop is a driver, a group, and for each round a graph with a driver again.
"""

import base64
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToDict

from pipeline.graph import retraining

NAME = "colorizer-retraining-x7k2p"
_WORDS = {"Error": "FAILED", "Omitted": "RUNTIME_STATE_UNSPECIFIED"}  # Kubeflow's words for Argo's phases


@dataclass(frozen=True)
class Step:
    """Describes a step of a run.

    Attributes:
        name: of the step.
        phase: of its last pod, by Argo's name.
        number: of the partition or of the variant.
        message: of its last pod.
        cached: Kubeflow's cache had its outputs, so that it had no pod of its own.
        attempts: pods that it had; all but the last failed.
        minute: of the hour in which it began; it ends 125 s later.
    """

    name: str
    phase: str = "Succeeded"
    number: int = 0
    message: str = ""
    cached: bool = False
    attempts: int = 1
    minute: int = 0

    @property
    def started(self) -> str:
        return f"2026-11-25T03:{self.minute:02}:00Z"

    @property
    def finished(self) -> str | None:
        return f"2026-11-25T03:{self.minute + 2:02}:05Z" if self.phase not in ("Pending", "Running") else None


def workflow(*steps: Step, compressed: bool = False, deadline: int | None = None, message: str = "") -> dict[str, Any]:
    """Returns the workflow of a run with these steps.

    Args:
        steps: those that have begun.
        compressed: it has grown beyond 1 MB, so that Argo has compressed its nodes.
        deadline: its seconds, 0 when somebody has canceled it.
        message: of the workflow.
    """
    places = dict(_places(MessageToDict(retraining.pipeline_spec)["root"]["dag"]["tasks"], ["root"]))
    nodes: dict[str, Any] = {}
    for step in steps:
        _add(nodes, places[step.name], step)
    status: dict[str, Any] = {"message": message, "nodes": nodes}
    if compressed:
        status = {"compressedNodes": base64.b64encode(gzip.compress(json.dumps(nodes).encode())).decode()}
    return {
        "metadata": {"name": NAME, "namespace": "colorizer"},
        "spec": {"activeDeadlineSeconds": deadline},
        "status": status,
    }


def task_details(made: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns what Kubeflow's API calls the tasks of the run: each node of the workflow; none of a compressed one."""
    return [
        {
            "display_name": node["displayName"],
            "state": _WORDS.get(node["phase"], node["phase"].upper()),
            "start_time": node["startedAt"],
            "end_time": node["finishedAt"] or "1970-01-01T00:00:00Z",
            "child_tasks": [{"pod_name": child} for child in node["children"]],
        }
        for node in made["status"].get("nodes", {}).values()
    ]


def pod(step: str, attempt: int = 0) -> str:
    """Returns the name of a pod of a step; of its first partition or variant."""
    place = dict(_places(MessageToDict(retraining.pipeline_spec)["root"]["dag"]["tasks"], ["root"]))[step]
    parts = [f"{part}(0:0)" if part == "iteration-iterations" else part for part in place]
    name = ".".join(f"{part}(0)" for part in (NAME, *parts)) + f".executor({attempt})"
    return f"{NAME}-system-container-impl-{_fnv(name)}"


def _places(tasks: dict[str, Any], above: list[str]) -> Iterator[tuple[str, list[str]]]:
    components = MessageToDict(retraining.pipeline_spec)["components"]
    for key, task in tasks.items():
        if "strategy" in task.get("triggerPolicy", {}):
            (handler,) = task["dependentTasks"]
            yield key, [*above, f"{handler}.onExit", key]
        elif "dag" in (component := components[task["componentRef"]["name"]]):
            loop = ["iteration-iterations", "iteration-item"] if "parameterIterator" in task else []
            yield from _places(component["dag"]["tasks"], [*above, key, *loop])
        else:
            yield key, [*above, key]


def _add(nodes: dict[str, Any], place: list[str], step: Step) -> None:
    outer = step.phase if step.phase != "Pending" else "Running"
    name = f"{NAME}(0)"
    for part, below in zip(place, [*place[1:], ""], strict=True):
        above, title, driver = name, part, f"{part}-driver"
        if part == "iteration-iterations":
            _node(nodes, f"{above}.{part}", part, "TaskGroup", "Running", step)
            title, driver = f"{part}({step.number}:{step.number})", "iteration-driver"
        if not part.endswith(".onExit") and below != "iteration-iterations":
            _node(nodes, f"{above}.{driver}", driver, "Retry", "Succeeded", step)
            _node(nodes, f"{above}.{driver}(0)", f"{driver}(0)", "Pod", "Succeeded", step)
        phase, name = "Running" if below else outer, f"{above}.{title}"
        _node(nodes, name, title, "Retry", phase, step)
        name = f"{name}(0)"
        _node(nodes, name, f"{title}(0)", "DAG", phase, step)
    if step.cached:
        _node(nodes, f"{name}.executor", "executor", "Skipped", "Skipped", step)
        return
    _node(nodes, f"{name}.executor", "executor", "Retry", outer, step)
    for attempt in range(step.attempts):
        phase, message = (step.phase, step.message) if attempt == step.attempts - 1 else ("Failed", "pod deleted")
        _node(nodes, f"{name}.executor({attempt})", f"executor({attempt})", "Pod", phase, step, message)


def _node(nodes: dict[str, Any], name: str, title: str, kind: str, phase: str, step: Step, message: str = "") -> None:
    identity = f"{NAME}-{_fnv(name)}"
    above = nodes.get(f"{NAME}-{_fnv(name.removesuffix(title).removesuffix('.'))}")
    if above and identity not in above["children"]:
        above["children"].append(identity)
    nodes[identity] = {
        "id": identity, "name": name, "displayName": title, "type": kind, "phase": phase, "message": message,
        "templateName": "system-container-impl", "startedAt": step.started, "finishedAt": step.finished,
        "children": nodes.get(identity, {}).get("children", []),
    }  # fmt: skip


def _fnv(text: str) -> int:
    """Returns a text's FNV-1a hash of 32 bits, which ends the names of Argo's nodes and pods."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    return value
