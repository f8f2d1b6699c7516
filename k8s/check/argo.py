"""Rule for the component that changes Argo's defaults: it keeps what Kubeflow Pipelines ships."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from k8s.check.manifests import ROOT, Finding, render

RETRY = ROOT / "k8s" / "components" / "retry"

_SHIPPED = {
    "artifactRepository": "archiveLogs: true",
    "executor": "imagePullPolicy: IfNotPresent",
    "workflowDefaults": yaml.safe_dump(
        {
            "spec": {
                "ttlStrategy": dict.fromkeys(
                    ("secondsAfterCompletion", "secondsAfterSuccess", "secondsAfterFailure"), 3600
                ),
                "templateDefaults": {"retryStrategy": {"limit": "2", "retryPolicy": "OnError"}},
            }
        }
    ),
}
"""Stand-in for the ConfigMap of Kubeflow Pipelines 2.17.0: its keys, and all of its workflowDefaults."""


def findings(component: Path = RETRY) -> Iterator[Finding]:
    """Requires that the component retries every failure, and keeps everything else of the ConfigMap."""
    data = _patched(component)

    def finding(key: str, text: str) -> Finding:
        return Finding("k8s/components/retry", "ConfigMap/workflow-controller-configmap", f"data.{key}", text)

    for key in _SHIPPED.keys() - {"workflowDefaults"}:
        if data.get(key) != _SHIPPED[key]:
            yield finding(key, "differs from what Kubeflow Pipelines ships; leave it alone")
    spec, shipped = (yaml.safe_load(each["workflowDefaults"])["spec"] for each in (data, _SHIPPED))
    if spec.get("ttlStrategy") != shipped["ttlStrategy"]:
        yield finding("workflowDefaults", "loses the shipped ttlStrategy; a patch replaces the whole text: repeat it")
    retry = spec.get("templateDefaults", {}).get("retryStrategy", {})
    if retry != {"retryPolicy": "Always", "limit": "0"}:
        yield finding("workflowDefaults", 'set retryPolicy: Always and limit: "0"; another limit multiplies')


def _patched(component: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder).resolve()
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "workflow-controller-configmap"}}
        (here / "shipped.yaml").write_text(yaml.safe_dump(config | {"data": _SHIPPED}), encoding="utf-8")
        parts = {"namespace": "kubeflow", "resources": ["shipped.yaml"]}
        whole = parts | {"components": [os.path.relpath(component, here)]}
        (here / "kustomization.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
        (rendered,) = render(here).objects
    data: dict[str, Any] = rendered["data"]
    return data
