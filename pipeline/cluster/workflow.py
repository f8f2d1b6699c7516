"""Argo's workflow of a run: the state of each step, and the pods that failed.

Kubeflow's own list of tasks stops growing when the workflow exceeds 1 MB, which a run of several variants does: Argo
then compresses the list of nodes, and Kubeflow does not unpack it. So this reads the nodes themselves. Argo names a
node by its place: WORKFLOW.root.exit-handler-1.condition-2.train.executor, with (0), (1) ... after each part that it
may try again, and (0:0), (1:1) ... after each round of a loop.
"""

import base64
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_ATTEMPT = re.compile(r"\(\d+(:[^)]*)?\)")
_EXECUTOR = "executor"
_FAILED = ("Failed", "Error")
_SLOWEST_FIRST = ("Failed", "Error", "Pending", "Running", "Succeeded", "Skipped")
_FIELDS = {
    "name": "name", "title": "displayName", "kind": "type", "phase": "phase", "message": "message",
    "started": "startedAt", "finished": "finishedAt",
}  # fmt: skip
_MAX_NODES = 2**28  # bytes of all nodes, unpacked


@dataclass(frozen=True)
class Node:
    """Holds a node of Argo's workflow: a pod, or a group of nodes.

    Attributes:
        name: its place, unique in the workflow.
        title: last part of its name, with the number of the attempt.
        kind: Pod, DAG, Retry, TaskGroup or Skipped.
        phase: Pending, Running, Succeeded, Skipped, Failed, Error or Omitted.
        message: why it waits or failed; empty when Argo does not say.
        pod: name of its pod; of a group without meaning.
        started: beginning in ISO 8601; empty when it has none.
        finished: end in ISO 8601; empty when it has none.
    """

    name: str
    title: str
    kind: str
    phase: str
    message: str
    pod: str
    started: str
    finished: str

    @property
    def step(self) -> str:
        """Name of the step that it belongs to; of a driver, its own."""
        parts = [_ATTEMPT.sub("", part) for part in self.name.split(".")]
        return parts[-2] if parts[-1] == _EXECUTOR and len(parts) > 1 else parts[-1]

    def contains(self, other: "Node") -> bool:
        """Returns whether another node is below this one."""
        return other.name.startswith((f"{self.name}.", f"{self.name}("))


@dataclass(frozen=True)
class State:
    """Holds the state of a step.

    Attributes:
        word: pending, running, succeeded, skipped or failed.
        detail: what there is to say about it, such as its seconds or why it waits; may be empty.
    """

    word: str
    detail: str


def nodes(workflow: Mapping[str, Any]) -> list[Node]:
    """Returns the nodes of a workflow, the one that began first at the front; none where Argo keeps them elsewhere."""
    status = workflow.get("status") or {}
    listed = status.get("nodes") or _unpacked(status.get("compressedNodes") or "")
    metadata = workflow.get("metadata") or {}
    plain = (metadata.get("annotations") or {}).get("workflows.argoproj.io/pod-name-format") == "v1"
    found = []
    for key, node in listed.items():
        pod = key if plain else f"{metadata.get('name')}-{node.get('templateName', '')}-{key.rpartition('-')[2]}"
        texts = {name: str(node.get(argos) or "") for name, argos in _FIELDS.items()}
        found.append(Node(pod=pod, **texts))
    return sorted(found, key=lambda node: (node.started, node.name))


def states(found: list[Node], step: str) -> State | None:
    """Returns the state of a step; of several partitions or variants, the slowest counts. None before it begins."""
    groups = [node for node in found if node.title == step and node.phase in _SLOWEST_FIRST]
    if not groups:
        return None
    slowest = min(groups, key=lambda node: _SLOWEST_FIRST.index(node.phase))
    if slowest.phase in _FAILED:
        return State("failed", "")
    if slowest.phase in ("Pending", "Running"):
        waiting = [pod for pod in _pods(found, groups) if pod.phase == "Pending"]
        return State("pending", waiting[0].message) if waiting else State("running", "")
    if slowest.phase == "Succeeded" and not _pods(found, groups):
        return State("succeeded", "from the cache")
    seconds = _seconds(min(node.started for node in groups), max(node.finished for node in groups))
    return State(slowest.phase.lower(), seconds)


def failed_pods(found: list[Node]) -> list[Node]:
    """Returns the pod that failed each failed step, in the order of their ends; none that a later attempt made good."""
    recovered = tuple(f"{node.name}(" for node in found if node.kind == "Retry" and node.phase == "Succeeded")
    last: dict[str, Node] = {}  # of the attempts at the same pod
    for pod in found:
        if pod.kind == "Pod" and pod.phase in _FAILED and not pod.name.startswith(recovered):
            last[re.sub(r"\(\d+\)$", "", pod.name)] = pod
    first: dict[str, Node] = {}  # of several partitions or variants
    for pod in sorted(last.values(), key=lambda pod: pod.finished):
        first.setdefault(pod.step, pod)
    return list(first.values())


def was_canceled(workflow: Mapping[str, Any]) -> bool:
    """Returns whether somebody canceled the run: Kubeflow does so by a deadline of 0 seconds, and calls it FAILED."""
    return (workflow.get("spec") or {}).get("activeDeadlineSeconds") == 0


def _pods(found: list[Node], groups: list[Node]) -> list[Node]:
    return [pod for pod in found if pod.kind == "Pod" and any(group.contains(pod) for group in groups)]


def _unpacked(compressed: str) -> dict[str, Any]:
    """Returns nodes that Argo has compressed with gzip and written in base64."""
    if not compressed:
        return {}
    unpacked = zlib.decompressobj(wbits=31).decompress(base64.b64decode(compressed), _MAX_NODES)
    listed: dict[str, Any] = json.loads(unpacked)
    return listed


def _seconds(started: str, finished: str) -> str:
    try:
        passed = datetime.fromisoformat(finished) - datetime.fromisoformat(started)
    except ValueError:
        return ""
    return f"{passed.total_seconds():.0f} s"
