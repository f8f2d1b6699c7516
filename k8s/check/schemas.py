"""Strict check of every object against the schemas of three Kubernetes minors, and of custom resources against ours.

The schemas in custom_resources/ hold the fields that this project uses, as the named release of each CRD has them, and
refuse all others.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from k8s.check.compiled import Object
from k8s.check.manifests import Finding, Manifests

MINORS = ("1.35", "1.36", "1.37")
_CUSTOM = Path(__file__).with_name("custom_resources")


def findings(manifests: Manifests) -> Iterator[Finding]:
    """Finds every object that does not fit its schema."""
    for thing in manifests.objects:
        kind = f"{thing['apiVersion']} {thing['kind']}"
        if kind in _custom():
            errors = list(jsonschema.Draft202012Validator(_custom()[kind]).iter_errors(thing))
            for error in errors:
                yield manifests.finding(thing, _path(error), f"{error.message} ({kind})")
            if thing["kind"] == "InferenceService":
                yield from _predictor(manifests, thing)
            if thing["kind"] == "TrainJob" and not errors:
                yield from _training_pods(manifests, thing)
        else:
            for minor in MINORS:
                yield from _builtin(manifests, thing, thing, minor)


def _predictor(manifests: Manifests, thing: Object) -> Iterator[Finding]:
    """Checks KServe's predictor, which is a pod spec with a few more fields."""
    own = _custom()["serving.kserve.io/v1beta1 InferenceService"]["properties"]["spec"]["properties"]["predictor"]
    spec = {key: value for key, value in thing["spec"]["predictor"].items() if key not in own["properties"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": spec}
    for minor in MINORS:
        yield from _builtin(manifests, thing, pod, minor)


def _training_pods(manifests: Manifests, thing: Object) -> Iterator[Finding]:
    """Checks the pods that Kubeflow Trainer makes of a TrainJob's patches and trainer."""
    trainer = {key: thing["spec"]["trainer"].get(key, []) for key in ("image", "command", "args", "env")}
    trainer["resources"] = thing["spec"]["trainer"]["resourcesPerNode"]
    for patch in thing["spec"]["runtimePatches"]:
        for job in patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]:
            pod = job["template"]["spec"]["template"]
            spec = pod["spec"] | {"containers": [each | trainer for each in pod["spec"]["containers"]]}
            for minor in MINORS:
                yield from _builtin(manifests, thing, {"apiVersion": "v1", "kind": "Pod", **pod, "spec": spec}, minor)


def _builtin(manifests: Manifests, shown: Object, thing: Object, minor: str) -> Iterator[Finding]:
    refused = _refused(json.dumps(thing), minor)
    if refused:
        yield manifests.finding(shown, *refused)


@cache
def _refused(text: str, minor: str) -> tuple[str, str] | None:
    """Returns where and why Kubernetes refuses an object; most are in several overlays."""
    thing = json.loads(text)
    try:
        kubernetes_validate.validate(thing, minor, strict=True)
    except kubernetes_validate.ValidationError as error:
        return _path(error), f"{error.message} (Kubernetes {minor})"
    except kubernetes_validate.SchemaNotFoundError:
        return "kind", f"Kubernetes {minor} has no {thing['apiVersion']} {thing['kind']}, and {_CUSTOM.name}/ has none"
    return None


def _path(error: jsonschema.ValidationError) -> str:
    return ".".join(map(str, error.path)) or "(top)"


@cache
def _custom() -> dict[str, Any]:
    """Reads the schemas by "apiVersion kind"."""
    found = {}
    for file in sorted(_CUSTOM.glob("*.yaml")):
        found.update(yaml.safe_load(file.read_text(encoding="utf-8")))
    return found
