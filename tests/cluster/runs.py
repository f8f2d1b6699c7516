"""Runs on the cluster: sent by `colorize`, read through Kubeflow's API, and their pods by step."""

import contextlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError

from components.shared.s3.client import Address
from pipeline.cluster.client import Client, Endpoint
from tests.cluster import kube
from tests.cluster.page import Shell

NAMESPACE = "kubeflow"
API, STORE = 8888, 8333
"""Ports of this machine that the page forwards to Kubeflow's API and to the store."""
WORKER = "components.train.worker"
"""Word in the command line of a process that trains."""
KILLED, RESUMED = "SIGKILL ended attempt 1", "train: resumes from"
"""What the log of a training says of a process that was killed, and of the one that goes on."""
_ADDRESS = re.compile(r"runs/details/([0-9a-f-]{36})")


@contextmanager
def api() -> Iterator[Client]:
    """Yields a client of Kubeflow Pipelines behind the suite's port-forward."""
    with Endpoint(f"http://localhost:{API}", NAMESPACE, None, None).connect() as client:
        yield client


def run_id(printed: str) -> str:
    """Returns the id of the run whose address was printed."""
    found = _ADDRESS.search(printed)
    assert found, f"no address of a run in: {printed}"
    return found[1]


def submit(shell: Shell, options: str) -> str:
    """Starts a run of the suite's recipe with more options of `colorize submit`; returns its id."""
    return run_id(shell.run(f"colorize submit --recipe $RECIPE {options}"))


def follow(shell: Shell, run: str, seconds: float) -> str:
    """Waits for the end of a run, which must succeed; returns what `colorize follow` prints."""
    return shell.run(f"colorize follow {run}", seconds)


def state(run: str) -> str:
    """Returns Kubeflow's state of a run."""
    with api() as client:
        return str(client.get_run(run).state)


def pods(run: str) -> list[kube.Object]:
    """Returns all pods of a run that still exist, drivers included, the oldest first."""
    return kube.objects(NAMESPACE, "pods", f"pipeline/runid={run}")


def steps(run: str) -> dict[str, list[kube.Object]]:
    """Returns the pods of each step that ran, the oldest first; a reused step has none."""
    found = defaultdict(list)
    for pod in pods(run):
        if name := step(pod):
            found[name].append(pod)
    return dict(found)


def step(pod: kube.Object) -> str:
    """Returns the name of the step that runs in a pod; empty for a driver."""
    words = _words(pod)
    return words[words.index("--function_to_execute") + 1] if "--function_to_execute" in words else ""


def arguments(pod: kube.Object) -> dict[str, Any]:
    """Returns the parameters that Kubeflow gives to a step's pod."""
    words = _words(pod)
    given = json.loads(words[words.index("--executor_input") + 1])
    return dict(given["inputs"].get("parameterValues", {}))


def _words(pod: kube.Object) -> list[str]:
    containers = [one for one in pod["spec"]["containers"] if one["name"] == "main"]
    return [word for one in containers for word in (*one.get("command", ()), *one.get("args", ()))]


def running(run: str, name: str, variant: str = "", seconds: float = 600) -> kube.Object:
    """Returns the newest pod of a step, of a variant if one is named, as soon as it runs."""

    def found() -> list[kube.Object]:
        there = [pod for pod in steps(run).get(name, []) if pod["status"]["phase"] == "Running"]
        return [pod for pod in there if not variant or arguments(pod)["variant"]["name"] == variant]

    return kube.until(f"a running pod of {name} {variant}", found, seconds)[-1]


def kill_training(run: str, variant: str = "") -> int:
    """Kills the process of a training (of a variant) with signal 9 after its first checkpoint; returns its id."""
    pod = running(run, "train", variant)
    saved_after(pod, pod["status"]["startTime"])
    return int(kube.inside(NAMESPACE, pod["metadata"]["name"], "kill.py", WORKER, container="main"))


def saved_after(pod: kube.Object, time: str) -> None:
    """Waits until a training's pod has written a checkpoint after a time."""

    def found() -> list[str]:
        with contextlib.suppress(BotoCoreError):  # the port-forward may be on its way back
            return checkpoints(arguments(pod)["checkpoints"], time)
        return []

    kube.until("a checkpoint", found, 300, pause=1)


def checkpoints(prefix: str, since: str) -> list[str]:
    """Returns the checkpoints below s3://bucket/prefix that were written since a time."""
    address = Address.parse(prefix)
    keys = {"aws_access_key_id": "AWS_ACCESS_KEY_ID", "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY"}
    given = {name: kube.secret("colorizer", "colorizer-s3", key) for name, key in keys.items()}
    s3 = boto3.client("s3", endpoint_url=f"http://localhost:{STORE}", region_name="us-east-1", **given)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=address.bucket, Prefix=address.prefix)
    found = [item for page in pages for item in page.get("Contents", [])]
    return [item["Key"] for item in found if item["LastModified"] >= datetime.fromisoformat(since)]


def log(pod: kube.Object) -> str:
    """Returns what a step's pod has printed so far."""
    return kube.kubectl("-n", NAMESPACE, "logs", pod["metadata"]["name"], "-c", "main", check=False)


def messages(receiver: str) -> dict[str, dict[str, Any]]:
    """Returns the newest message of each run that the webhook's receiver has got, by the run's id."""
    lines = kube.kubectl("-n", receiver, "logs", "receiver").splitlines()
    return {message["pipeline_run"]: message for message in map(json.loads, lines)}
