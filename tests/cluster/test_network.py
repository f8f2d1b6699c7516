"""Tests of network policies, probed from pods, and of Pod Security and the production overlay, asked of the server."""

import json
from collections.abc import Iterator

import pytest
import yaml

from components.images.names import CPU_IMAGE
from pipeline.place import STEP_LABELS
from tests.cluster import kube, runs
from tests.cluster.conftest import CHECK
from tests.support.dvc_project import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300), pytest.mark.usefixtures("first_run")]
MLFLOW, WEB = "mlflow.colorizer:5000", "colorizer-web.colorizer:8080"
S3, POSTGRES = "seaweedfs.colorizer:8333", "postgres.colorizer:5432"
CLOUD = "169.254.169.254:80"
"""The metadata service of a cloud; where there is none, nothing answers either."""
EVERYWHERE = (MLFLOW, WEB, S3, POSTGRES, CLOUD)
PROBES = {
    "probe-step": (runs.NAMESPACE, STEP_LABELS, {MLFLOW, WEB, S3}),
    "probe-other-run": (runs.NAMESPACE, {}, {MLFLOW, WEB}),
    "probe-step-of-a-profile": ("colorizer", STEP_LABELS, {MLFLOW}),
    "probe-notebook": ("colorizer", {}, {WEB}),
}
"""Pods that are like others: their namespace, labels, and what they may reach.

A step reaches the store of the local overlay from `kubeflow` alone, where Kubeflow without profiles runs it. The page
alone takes connections from pods that are none of ours.
"""


@pytest.fixture(scope="module")
def probes() -> Iterator[None]:
    command = ["python", "-c", "import time; time.sleep(3600)"]
    pods = [kube.pod(name, where, CPU_IMAGE, command, labels) for name, (where, labels, _) in PROBES.items()]
    kube.apply(*pods)
    for name, (where, _, _) in PROBES.items():
        kube.kubectl("-n", where, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=2m", seconds=150)
    yield
    for name, (where, _, _) in PROBES.items():
        kube.kubectl("-n", where, "delete", "pod", name)


def opened(namespace: str, pod: str) -> set[str]:
    """Returns which of the places a pod can connect to."""
    found = kube.inside(namespace, pod, "probe.py", *EVERYWHERE)
    return {address for address, answers in found.items() if answers}


def of(name: str) -> str:
    """Returns a running pod of a Deployment."""
    pods = kube.objects("colorizer", "pods", f"app.kubernetes.io/name={name}")
    return next(pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running")


@pytest.mark.parametrize("name", PROBES)
def test_a_pod_reaches_what_the_policies_allow_and_nothing_else(probes: None, name: str) -> None:
    namespace, labels, allowed = PROBES[name]
    found = opened(namespace, name)
    assert found - {CLOUD} == allowed
    assert CLOUD not in found or namespace != "colorizer" or not labels  # the policies hold our own pods alone


def test_the_page_reaches_mlflow_alone() -> None:
    assert opened("colorizer", of("colorizer-web")) - {WEB} == {MLFLOW}  # itself aside


def test_mlflow_reaches_its_database_and_the_store() -> None:
    assert opened("colorizer", of("mlflow")) - {MLFLOW} == {S3, POSTGRES}


def test_another_namespace_reaches_the_page_alone() -> None:
    assert opened(CHECK, "receiver") == {WEB}


def test_applying_again_changes_nothing() -> None:
    printed = kube.kubectl("apply", "-k", "k8s/overlays/local", seconds=180)
    assert [line for line in printed.splitlines() if line.endswith("configured")] == []


def test_pod_security_restricted_is_enforced() -> None:
    careless = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "careless", "namespace": "colorizer"},
        "spec": {"containers": [{"name": "main", "image": CPU_IMAGE}]},
    }
    assert 'violates PodSecurity "restricted' in kube.tried(careless)


def test_the_server_takes_the_production_overlay() -> None:
    """Leaves out the kinds whose operator this cluster lacks; make k8s-check knows their schemas."""
    rendered = kube.kubectl("kustomize", str(ROOT / "k8s" / "overlays" / "production"))
    known = {line.split()[-1] for line in kube.kubectl("api-resources", "--no-headers").splitlines()}
    manifests = [one for one in yaml.safe_load_all(rendered) if one["kind"] in known]
    assert {"Deployment", "NetworkPolicy", "ResourceQuota", "PodDisruptionBudget"} <= {one["kind"] for one in manifests}
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    kube.kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", given=given)
