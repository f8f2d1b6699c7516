"""Rules for the compiled pipeline against the manifests of the namespace that it runs in."""

from collections.abc import Iterator
from typing import Any

from k8s.check import containers, schemas
from k8s.check.compiled import Object, Step
from k8s.check.containers import quantity
from k8s.check.manifests import Finding, Manifests, matches
from k8s.check.quota import of_step
from k8s.check.references import SECRETS

QUEUE = "kueue.x-k8s.io/queue-name"


def steps(manifests: Manifests) -> Iterator[Finding]:
    """Finds missing ConfigMaps, Secrets, keys and queues, unfit TrainJobs, and steps above the LimitRange."""
    if manifests.pipeline is None:
        return
    for step in manifests.pipeline.steps():
        for rule in (_config_maps, _secrets, _train_job, _queue, _limits):
            for path, text in rule(manifests, step):
                yield Finding(manifests.pipeline.source, step.name, path, text)
    yield from _unread_keys(manifests)


def _config_maps(manifests: Manifests, step: Step) -> Iterator[tuple[str, str]]:
    """Requires the ConfigMaps of a step's environment, and their keys unless these are optional."""
    for number, wanted in enumerate(step.settings.get("configMapAsEnv", [])):
        path, name = f"configMapAsEnv[{number}]", _name(wanted, "configMap")
        config = manifests.named("ConfigMap", name, manifests.runs_in)
        if config is None:
            yield path, f"{manifests.source} has no ConfigMap {name} in {manifests.runs_in}"
            continue
        for key in (pair["configMapKey"] for pair in wanted["keyToEnv"]):
            if key not in config.get("data", {}) and not wanted.get("optional"):
                yield path, f"ConfigMap {name} of {manifests.source} has no key {key}; add it, or make it optional"


def _unread_keys(manifests: Manifests) -> Iterator[Finding]:
    """Refuses keys of the steps' ConfigMaps that no step reads, such as misspelled ones: all are optional."""
    assert manifests.pipeline
    read: dict[str, set[str]] = {}
    for step in manifests.pipeline.steps():
        for wanted in step.settings.get("configMapAsEnv", []):
            keys = {pair["configMapKey"] for pair in wanted["keyToEnv"]}
            read.setdefault(_name(wanted, "configMap"), set()).update(keys)
    for name, keys in read.items():
        config = manifests.named("ConfigMap", name, manifests.runs_in)
        for key in sorted((config or {}).get("data", {}).keys() - keys):
            text = f"no step reads {key}; the steps read: {', '.join(sorted(keys))}"
            yield Finding(manifests.source, f"ConfigMap/{name}", f"data.{key}", text)


def _secrets(manifests: Manifests, step: Step) -> Iterator[tuple[str, str]]:
    """Requires the Secrets of a step's environment, and their keys."""
    for number, wanted in enumerate(step.settings.get("secretAsEnv", [])):
        name = _name(wanted, "secret")
        for key in wanted.get("keyToEnv", []):
            if key["secretKey"] not in SECRETS[manifests.runs_in].get(name, set()):
                text = f"docs/operate creates no Secret {name} with a key {key['secretKey']} in {manifests.runs_in}"
                yield f"secretAsEnv[{number}]", text


def _train_job(manifests: Manifests, step: Step) -> Iterator[tuple[str, str]]:
    """Checks a TrainJob against its schema, and its pods against Pod Security's profile `restricted`."""
    if job := step.train_job:
        found = list(schemas.findings(Manifests(manifests.source, [job])))
        found = found or list(containers.no_escalation(Manifests(manifests.source, list(_pods(job)))))
        for finding in found:
            yield f"podMetadata.annotations: TrainJob: {finding.path}", finding.text


def _pods(job: Object) -> Iterator[Object]:
    """Yields the pods of a TrainJob as if Jobs made them."""
    for patch in job["spec"]["runtimePatches"]:
        for replicas in patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]:
            yield {"kind": "Job", "metadata": job["metadata"], "spec": replicas["template"]["spec"]}


def _queue(manifests: Manifests, step: Step) -> Iterator[tuple[str, str]]:
    """Requires the queue that a step's pod names, with room for the pod; a cluster without Kueue has no queues."""
    wanted = step.labels.get(QUEUE)
    if not wanted or not manifests.of("LocalQueue"):
        return
    queue = manifests.named("LocalQueue", wanted, manifests.runs_in)
    if queue is None:
        yield "podMetadata.labels", f"{manifests.source} has no LocalQueue {wanted}; Kueue would never admit the pod"
        return
    cluster = manifests.named("ClusterQueue", queue["spec"]["clusterQueue"], "")
    if cluster is None:
        yield "podMetadata.labels", f"LocalQueue {wanted} leads to no ClusterQueue of {manifests.source}"
        return
    if not matches(cluster["spec"]["namespaceSelector"], {"kubernetes.io/metadata.name": manifests.runs_in}):
        yield "podMetadata.labels", f"its queue admits no pods of {manifests.runs_in}; change the namespaceSelector"
    room: dict[str, Any] = {}
    for group in cluster["spec"]["resourceGroups"]:
        for flavor in group["flavors"]:
            room |= {resource["name"]: resource["nominalQuota"] for resource in flavor["resources"]}
    for key, amount in of_step(step).items():
        part, _, name = key.partition(".")
        if part == "requests" and (name not in room or quantity(room[name]) < amount):
            text = f"its queue has {room.get(name, 'no')} {name} and never admits the pod, which asks for {amount}"
            yield "podMetadata.labels", text


def _limits(manifests: Manifests, step: Step) -> Iterator[tuple[str, str]]:
    """Refuses scratch above the default limit of the namespace's LimitRange, and limits above its max."""
    disk = _of_limit_ranges(manifests, "default").get("ephemeral-storage")
    for number, mount in enumerate(step.settings.get("emptyDirMounts", [])):
        if mount.get("medium") != "Memory" and disk and quantity(mount["sizeLimit"]) > quantity(disk):
            text = f"{mount['sizeLimit']} is above the default limit of {manifests.source}'s LimitRange, {disk}"
            yield f"emptyDirMounts[{number}]", text
    most = _of_limit_ranges(manifests, "max")
    for resource in ("cpu", "memory"):
        limit = step.container.get("resources", {}).get(f"resource{resource.capitalize()}Limit")
        if limit and resource in most and quantity(limit) > quantity(most[resource]):
            yield f"{resource} limit", f"{limit} is above the max of {manifests.source}'s LimitRange, {most[resource]}"


def _of_limit_ranges(manifests: Manifests, kind: str) -> dict[str, str]:
    """Returns the quantities of a kind (max, default, defaultRequest) by resource, in the namespace of the runs."""
    ranges = manifests.of_namespace("LimitRange", manifests.runs_in)
    limits = (limit for each in ranges for limit in each["spec"]["limits"])
    return {resource: value for limit in limits for resource, value in limit.get(kind, {}).items()}


def _name(wanted: dict[str, Any], kind: str) -> str:
    """Returns the name of a reference, which kfp writes as a constant beside the older plain form."""
    given = wanted.get(f"{kind}NameParameter", {}).get("runtimeValue", {}).get("constant")
    return str(given or wanted[f"{kind}Name"])
