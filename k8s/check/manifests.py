"""Rendered overlays: their objects and the pods that these make."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from k8s.check.compiled import Compiled, Object
from model.utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]

STEPS = "colorizer-steps"
"""Name of the steps' account and role."""

_TEMPLATES = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""Path of the pod template in each kind of object."""


@dataclass(frozen=True)
class Finding:
    """Names a fault: file or overlay, object, path in the object, and what to do."""

    source: str
    where: str
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.source}: {self.where} {self.path}: {self.text}"


@dataclass(frozen=True)
class Pod:
    """Holds the template of the pods that an object makes."""

    owner: Object
    path: str
    spec: Object
    labels: dict[str, str]

    @property
    def namespace(self) -> str:
        return namespace(self.owner)

    @property
    def runs_on(self) -> bool:
        """Returns whether the pod is not meant to end."""
        return self.owner["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "InferenceService")

    def containers(self) -> Iterator[tuple[str, Object]]:
        """Yields each container, init containers included, with its path."""
        for group in ("initContainers", "containers"):
            for number, container in enumerate(self.spec.get(group, [])):
                yield f"{self.path}.{group}[{number}]", container


@dataclass(frozen=True)
class Manifests:
    """Holds the objects of one overlay, and the pipeline that runs beside them."""

    source: str
    objects: list[Object] = field(default_factory=list)
    pipeline: Compiled | None = None

    @property
    def runs_in(self) -> str:
        """Returns the namespace of the runs: Kubeflow's own without profiles."""
        return "kubeflow" if "kubeflow" in self.homes else "colorizer"

    @property
    def homes(self) -> list[str]:
        """Returns the namespaces that have the steps' account."""
        return [namespace(thing) for thing in self.of("ServiceAccount") if thing["metadata"]["name"] == STEPS]

    def finding(self, thing: Object, path: str, text: str) -> Finding:
        return Finding(self.source, title(thing), path, text)

    def of(self, *kinds: str) -> list[Object]:
        return [thing for thing in self.objects if thing["kind"] in kinds]

    def of_namespace(self, kind: str, where: str) -> list[Object]:
        return [thing for thing in self.of(kind) if namespace(thing) == where]

    def named(self, kind: str, name: str, where: str) -> Object | None:
        found = (thing for thing in self.of_namespace(kind, where) if thing["metadata"]["name"] == name)
        return next(found, None)

    def pods(self) -> Iterator[Pod]:
        for thing in self.objects:
            if thing["kind"] == "InferenceService":
                labels = thing["metadata"].get("labels", {})
                yield Pod(thing, "spec.predictor", thing["spec"]["predictor"], labels)
            elif thing["kind"] in _TEMPLATES:
                template = thing
                for key in _TEMPLATES[thing["kind"]]:
                    template = template[key]
                path = ".".join((*_TEMPLATES[thing["kind"]], "spec"))
                yield Pod(thing, path, template["spec"], template.get("metadata", {}).get("labels", {}))


def title(thing: Object) -> str:
    return f"{thing['kind']}/{thing['metadata']['name']}"


def namespace(thing: Object) -> str:
    return str(thing["metadata"].get("namespace", ""))


def render_with(folder: Path, *components: str) -> Manifests:
    """Renders an overlay with more components of k8s/components."""
    with tempfile.TemporaryDirectory() as above:
        parts = {"resources": [folder], "components": [ROOT / "k8s" / "components" / name for name in components]}
        lines = {key: [os.path.relpath(path, Path(above).resolve()) for path in paths] for key, paths in parts.items()}
        Path(above, "kustomization.yaml").write_text(yaml.safe_dump(lines), encoding="utf-8")
        rendered = render(Path(above))
    return Manifests(f"{folder.relative_to(ROOT)} with {', '.join(components)}", rendered.objects)


def render(folder: Path) -> Manifests:
    """Renders an overlay, as `kubectl apply -k FOLDER` would send it.

    Raises:
        UserError: kustomize cannot build it; quotes kubectl.
    """
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    shown = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    if done.returncode:
        raise UserError(f"{shown}: kubectl kustomize: {' '.join(done.stderr.split())}")
    return Manifests(str(shown), [thing for thing in yaml.safe_load_all(done.stdout) if thing])


def matches(selector: Object, labels: dict[str, str]) -> bool:
    """Returns whether a label selector selects these labels; an empty selector selects all."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions", []):
        value, values = labels.get(rule["key"]), rule.get("values", [])
        held = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": rule["key"] in labels,
            "DoesNotExist": rule["key"] not in labels,
        }
        if not held[rule["operator"]]:
            return False
    return True
