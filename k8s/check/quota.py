"""Rules for sums: a namespace's quota, and a laptop, must hold all that may run at once."""

import math
import re
from collections.abc import Iterator
from decimal import Decimal

from k8s.check.compiled import Amounts, Object, Step, most, plus, times
from k8s.check.containers import quantity
from k8s.check.manifests import Finding, Manifests, Pod

LAPTOP = {"requests.cpu": Decimal(4), "requests.memory": quantity("8Gi")}
BESIDE = {
    "Kubeflow Pipelines 2.17": {"requests.cpu": quantity("674m"), "requests.memory": quantity("3126Mi")},
    "Kubernetes on kind": {"requests.cpu": quantity("950m"), "requests.memory": quantity("290Mi")},
}
"""Requests of others on a laptop: upstream's own manifests (env/platform-agnostic), and kube-system."""

_DEVICE = re.compile(r"requests\..*/")
_CONTAINER = ("requests.cpu", "requests.memory", "limits.cpu", "limits.memory")


def quota(manifests: Manifests) -> Iterator[Finding]:
    """Requires a quota that holds the services, a rollout of each, the backup, and one run."""
    for each in manifests.of("ResourceQuota"):
        where = each["metadata"]["namespace"]
        services = of_services(manifests, where)
        run = of_run(manifests) if where == manifests.runs_in else {}
        for key, amount in plus(services, run).items():
            hard = each["spec"]["hard"].get(key)
            parts = f"services {_shown(key, services.get(key))}, a run {_shown(key, run.get(key))}"
            if hard is not None and quantity(hard) < amount:
                text = f"{hard} is below {_shown(key, amount)}, which may run at once ({parts}); raise it"
                yield manifests.finding(each, f"spec.hard.{key}", text)
            elif hard is None and "/" in key and amount:
                text = f"does not count {key}, of which a run asks for {_shown(key, amount)}; add it"
                yield manifests.finding(each, "spec.hard", text)


def laptop(manifests: Manifests) -> Iterator[Finding]:
    """Requires requests that fit a laptop, together with Kubernetes and Kubeflow, and no GPU."""
    namespaces = {pod.namespace for pod in manifests.pods()}
    ours = plus(of_run(manifests), *(of_services(manifests, where) for where in namespaces))
    beside = plus(*BESIDE.values())
    for key, there in LAPTOP.items():
        if ours[key] + beside[key] > there:
            text = f"{_shown(key, ours[key])} beside {_shown(key, beside[key])} of Kubernetes and Kubeflow do not fit"
            yield Finding(manifests.source, "the laptop", key, f"{text} {_shown(key, there)}; lower requests")
    for key, amount in ours.items():
        if "/" in key and amount:
            yield Finding(manifests.source, "the laptop", key, "a run asks for it; set gpu.count: 0")


def of_services(manifests: Manifests, where: str) -> Amounts:
    """Returns what the pods of a namespace ask for at most, while each rollout starts new pods beside the old ones."""
    there = [pod for pod in manifests.pods() if pod.namespace == where]
    return plus(*(times(_of_pod(pod), _copies(pod.owner)) for pod in there))


def of_run(manifests: Manifests) -> Amounts:
    """Returns what the pods of one run ask for at most."""
    if manifests.pipeline is None:
        return {}
    beside: Amounts = {}  # Argo's own container in each step, which gets the defaults of a LimitRange
    for limits in manifests.of_namespace("LimitRange", manifests.runs_in):
        for limit in limits["spec"]["limits"]:
            beside = _amounts(limit.get("defaultRequest", {}), limit.get("default", {}))
    return manifests.pipeline.at_once(lambda step: plus(beside, of_step(step)))


def of_step(step: Step) -> Amounts:
    """Returns what a step's own container asks for, and the nodes of its TrainJob."""
    asked = step.container.get("resources", {})
    found = _amounts(
        {name: asked[f"resource{name.capitalize()}Request"] for name in _has(asked, "Request")},
        {name: asked[f"resource{name.capitalize()}Limit"] for name in _has(asked, "Limit")},
    )
    if gpu := asked.get("accelerator"):
        found[f"requests.{gpu['resourceType']}"] = Decimal(gpu["resourceCount"])
    if job := step.train_job:
        trainer = job["spec"]["trainer"]
        each = _amounts(trainer["resourcesPerNode"]["requests"], trainer["resourcesPerNode"]["limits"])
        found = plus(found, times(each | {"pods": Decimal(1)}, trainer["numNodes"]))
    return plus(found, {"pods": Decimal(1)})


def _has(asked: Object, kind: str) -> list[str]:
    return [name for name in ("cpu", "memory") if f"resource{name.capitalize()}{kind}" in asked]


def _of_pod(pod: Pod) -> Amounts:
    """Returns what a pod asks for: its containers together, or the largest init container."""
    found: dict[str, list[Amounts]] = {"initContainers": [], "containers": []}
    for path, container in pod.containers():
        asked = container.get("resources", {})
        found[path.split(".")[-1].partition("[")[0]].append(
            _amounts(asked.get("requests", {}), asked.get("limits", {}))
        )
    return most(plus(*found["containers"]), *found["initContainers"]) | {"pods": Decimal(1)}


def _copies(owner: Object) -> int:
    """Returns how many pods of an object there are at most; a suspended CronJob has none."""
    spec = owner["spec"]
    if owner["kind"] == "InferenceService":
        return int(spec["predictor"].get("maxReplicas", 1))
    replicas = int(spec.get("replicas", 1))
    if owner["kind"] == "Deployment":
        surge = spec.get("strategy", {}).get("rollingUpdate", {}).get("maxSurge", "25%")
        percent = isinstance(surge, str)
        return replicas + (math.ceil(replicas * int(str(surge).removesuffix("%")) / 100) if percent else surge)
    return 0 if spec.get("suspend") else replicas


def _amounts(requests: dict[str, str], limits: dict[str, str]) -> Amounts:
    """Returns quantities by a quota's keys; a quota counts CPU, memory, and requests of everything with a domain."""
    found = {f"requests.{name}": quantity(value) for name, value in requests.items()}
    found |= {f"limits.{name}": quantity(value) for name, value in limits.items()}
    return {key: value for key, value in found.items() if key in _CONTAINER or _DEVICE.match(key)}


def _shown(key: str, amount: Decimal | None) -> str:
    if amount and key.endswith("memory"):
        return f"{amount / 1024**3:.2f}Gi"
    return f"{amount or 0:f}"
