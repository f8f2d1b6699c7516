"""Check of the compiled pipeline against the manifests of the namespace that it runs in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from k8s.check import schemas
from k8s.check.containers import quantity
from k8s.check.manifests import ROOT, Finding, Manifests
from k8s.check.references import SECRETS

COMPILED = ROOT / "pipeline" / "retraining.yaml"
QUEUE = "kueue.x-k8s.io/queue-name"


def findings(manifests: Manifests, compiled: Path = COMPILED) -> Iterator[Finding]:
    """Finds missing ConfigMaps, Secrets, keys and queues, unfit TrainJobs, and steps above the LimitRange."""
    source = compiled.name
    pipeline, *platform = yaml.safe_load_all(compiled.read_text(encoding="utf-8"))
    settings: dict[str, Any] = platform[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if platform else {}
    for name, executor in settings.items():
        for number, wanted in enumerate(executor.get("configMapAsEnv", [])):
            path = f"configMapAsEnv[{number}]"
            config = manifests.named("ConfigMap", _name(wanted, "configMap"))
            if config is None:
                text = f"{manifests.source} has no ConfigMap {_name(wanted, 'configMap')}"
                yield Finding(source, name, path, text)
        for number, wanted in enumerate(executor.get("secretAsEnv", [])):
            known = SECRETS.get(_name(wanted, "secret"), set())
            for key in wanted.get("keyToEnv", []):
                if key["secretKey"] not in known:
                    secret = _name(wanted, "secret")
                    text = f"docs/operate/cluster.md creates no Secret {secret} with a key {key['secretKey']}"
                    yield Finding(source, name, f"secretAsEnv[{number}]", text)
        for value in executor.get("podMetadata", {}).get("annotations", {}).values():
            if value.startswith("{"):
                yield from _train_job(manifests, source, json.loads(value))
        queue = executor.get("podMetadata", {}).get("labels", {}).get(QUEUE)
        queues = manifests.of("LocalQueue")
        if queue and queues and not manifests.named("LocalQueue", queue):
            text = f"{manifests.source} has no LocalQueue {queue}; Kueue would never admit the pod"
            yield Finding(source, name, "podMetadata.labels", text)
        for number, mount in enumerate(executor.get("emptyDirMounts", [])):
            disk = _of_limit_ranges(manifests, "default").get("ephemeral-storage")
            if mount.get("medium") != "Memory" and disk and quantity(mount["sizeLimit"]) > quantity(disk):
                text = f"{mount['sizeLimit']} is above the default limit of {manifests.source}'s LimitRange, {disk}"
                yield Finding(source, name, f"emptyDirMounts[{number}]", text)
    most = _of_limit_ranges(manifests, "max")
    for name, executor in pipeline["deploymentSpec"]["executors"].items():
        asked = executor["container"].get("resources", {})
        for resource in ("cpu", "memory"):
            limit = asked.get(f"resource{resource.capitalize()}Limit")
            if limit and resource in most and quantity(limit) > quantity(most[resource]):
                text = f"{limit} is above the max of {manifests.source}'s LimitRange, {most[resource]}"
                yield Finding(source, name, f"{resource} limit", text)


def _train_job(manifests: Manifests, source: str, job: dict[str, Any]) -> Iterator[Finding]:
    job["metadata"]["name"] = "colorizer"  # the step gives it one
    yield from schemas.findings(Manifests(source, [job]))
    rules = [rule for role in manifests.of("Role") for rule in role["rules"]]
    if not any("trainjobs" in rule["resources"] and "create" in rule["verbs"] for rule in rules):
        text = f"{manifests.source} lets no step create TrainJobs (gpu.nodes); add k8s/components/trainer to it"
        yield Finding(source, "exec-train", "podMetadata.annotations", text)


def _of_limit_ranges(manifests: Manifests, kind: str) -> dict[str, str]:
    """Returns the LimitRanges' quantities of a kind (max, default, defaultRequest) by resource."""
    ranges = (limit for limits in manifests.of("LimitRange") for limit in limits["spec"]["limits"])
    return {resource: value for limit in ranges for resource, value in limit.get(kind, {}).items()}


def _name(wanted: dict[str, Any], kind: str) -> str:
    """Returns the name of a reference, which kfp writes as a constant beside the older plain form."""
    given = wanted.get(f"{kind}NameParameter", {}).get("runtimeValue", {}).get("constant")
    return str(given or wanted[f"{kind}Name"])
