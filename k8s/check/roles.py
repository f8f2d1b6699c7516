"""Rules for roles: each grants what the programs of its account call, and no more."""

from collections.abc import Iterator
from dataclasses import dataclass

from k8s.check.compiled import Object
from k8s.check.manifests import STEPS, Finding, Manifests


@dataclass(frozen=True)
class Calls:
    """Holds verbs that a program uses on a resource, or on one object of it."""

    program: str
    group: str
    resource: str
    verbs: tuple[str, ...]
    name: str = "*"

    def each(self) -> set[tuple[str, str, str, str]]:
        return {(self.group, self.resource, self.name, verb) for verb in self.verbs}


ALWAYS = (
    Calls("Argo's executor", "argoproj.io", "workflowtaskresults", ("create", "patch")),
    Calls("Kubeflow's driver and launcher", "", "configmaps", ("get",), name="kfp-launcher"),
    Calls("Kubeflow's driver and launcher", "", "secrets", ("get",), name="mlpipeline-minio-artifact"),
    Calls("Kubeflow's driver and launcher", "", "pods", ("get",)),
)
"""Rights that every run needs, by the code of Kubeflow Pipelines 2.17 and Argo 4.0."""

TRAIN_JOBS = (
    Calls("components/train/trainjob", "trainer.kubeflow.org", "trainjobs", ("create", "get", "patch", "delete")),
    Calls("components/train/trainjob", "", "pods", ("list",)),
    Calls("components/train/trainjob", "", "pods/log", ("get",)),
)
"""Rights of a run whose train step creates a TrainJob."""

MLFLOW = (
    Calls("Kubeflow's MLflow plugin", "mlflow.kubeflow.org", "experiments", ("get", "list", "create", "update")),
    Calls(
        "components/register", "mlflow.kubeflow.org", "registeredmodels", ("get", "list", "create", "update", "delete")
    ),
)
"""Rights that MLflow asks Kubernetes about, where it authorizes its callers by roles."""


def needed(manifests: Manifests) -> Iterator[Finding]:
    """Requires the rights of every program that runs with the steps' account."""
    for role in manifests.of("Role"):
        if role["metadata"]["name"] == STEPS:
            for calls in ALWAYS + (TRAIN_JOBS if _trains(manifests) else ()):
                missing = sorted(verb for group, resource, name, verb in calls.each() - _grants(role, calls.name))
                if missing:
                    hint = "; add k8s/components/trainer to the overlay" if calls in TRAIN_JOBS else "; add a rule"
                    text = f"{calls.program} needs {', '.join(missing)} of {calls.resource}{hint}"
                    yield manifests.finding(role, "rules", text)


def used(manifests: Manifests) -> Iterator[Finding]:
    """Refuses rights of the steps' account that no program uses."""
    known = set().union(*(calls.each() for calls in ALWAYS + MLFLOW + (TRAIN_JOBS if _trains(manifests) else ())))
    for role in manifests.of("Role"):
        if role["metadata"]["name"] == STEPS:
            for group, resource, name, verb in sorted(_rules(role) - known):
                text = f"grants {verb} of {resource} {name} ({group}), which no program in k8s/check/roles.py calls"
                yield manifests.finding(role, "rules", text)


def tokens(manifests: Manifests) -> Iterator[Finding]:
    """Refuses a token for any other account: no other program of ours calls the Kubernetes API."""
    for account in manifests.of("ServiceAccount"):
        if account["metadata"]["name"] != STEPS and account.get("automountServiceAccountToken") is not False:
            text = "gives its pods a token that they do not use; set it to false"
            yield manifests.finding(account, "automountServiceAccountToken", text)


def _trains(manifests: Manifests) -> bool:
    """Returns whether a step of the pipeline creates a TrainJob."""
    return manifests.pipeline is not None and any(step.train_job for step in manifests.pipeline.steps())


def _rules(role: Object) -> set[tuple[str, str, str, str]]:
    """Returns each right that a role grants: API group, resource, name of an object or *, verb."""
    return {
        (group, resource, name, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", ["*"])
        for verb in rule["verbs"]
    }


def _grants(role: Object, name: str) -> set[tuple[str, str, str, str]]:
    """Returns the rights for an object of this name; one that is granted for all objects holds for it."""
    return {(group, kind, name, verb) for group, kind, granted, verb in _rules(role) if granted in (name, "*")}
