"""Tests of what the manifests do for the server: no way in from outside, names, memory, and time to end."""

from typing import Any

import pytest

from k8s.check.manifests import ROOT, Manifests, render_with
from serving.limits import Limits
from serving.memory import most_for_one, needed

PUBLIC = ("Ingress", "Gateway", "HTTPRoute", "VirtualService", "Route")
BASE = 1_400_000_000
"""Bytes of the process with the champion after it is warm; measured, and rounded up."""
PRODUCTION = ROOT / "k8s" / "overlays" / "production"


def spec(manifests: Manifests) -> dict[str, Any]:
    """Returns the pod of the server."""
    deployments = manifests.of("Deployment")
    found = next(each for each in deployments if each["metadata"]["name"] == "colorizer-web")
    pod: dict[str, Any] = found["spec"]["template"]["spec"]
    return pod


def names(pod: dict[str, Any]) -> list[str]:
    variables = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
    return str(variables["COLORIZE_ALLOW_HOSTS"]).split()


def ingress(manifests: Manifests) -> list[Any]:
    """Returns who may connect to the server."""
    policies = [each for each in manifests.of("NetworkPolicy") if each["metadata"]["name"] == "web"]
    return [peer for policy in policies for rule in policy["spec"]["ingress"] for peer in rule["from"]]


@pytest.mark.parametrize("overlay", ["local", "production"])
def test_nothing_opens_the_server_to_the_world(rendered: dict[str, Manifests], overlay: str):
    manifests = rendered[overlay]
    assert manifests.of(*PUBLIC) == []
    assert {service["spec"].get("type", "ClusterIP") for service in manifests.of("Service")} == {"ClusterIP"}
    for pod in manifests.pods():
        assert "hostNetwork" not in pod.spec
        assert all("hostPort" not in port for one in pod.spec["containers"] for port in one.get("ports", ()))
    assert all("ipBlock" not in peer for peer in ingress(manifests))


def test_with_a_proxy_the_server_takes_connections_from_it_and_prometheus_alone():
    manifests = render_with(PRODUCTION, "web-ingress")
    spaces = [peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in ingress(manifests)]
    assert spaces == ["ingress-nginx", "monitoring"]
    assert names(spec(manifests)) == ["photos.example.com"]


@pytest.mark.parametrize("overlay", ["local", "production"])
def test_the_server_answers_to_the_names_of_its_service(rendered: dict[str, Manifests], overlay: str):
    service = "colorizer-web.colorizer.svc.cluster.local"
    parts = service.split(".")
    assert names(spec(rendered[overlay])) == [".".join(parts[:count]) for count in (1, 2, 3, 5)]


def test_the_server_ends_within_the_grace_period_of_each_manifest(rendered: dict[str, Manifests]):
    kserve = render_with(PRODUCTION, "kserve").of("InferenceService")[0]["spec"]["predictor"]
    limits = Limits()
    for pod in (spec(rendered["local"]), spec(rendered["production"]), kserve):
        assert limits.ending_seconds < limits.killed_seconds < pod["terminationGracePeriodSeconds"]


def test_the_container_holds_the_largest_photograph(rendered: dict[str, Manifests]):
    limit = spec(rendered["production"])["containers"][0]["resources"]["limits"]["memory"]
    assert limit.endswith("Gi")
    assert needed(Limits().pixels) <= most_for_one(int(limit[:-2]) << 30, BASE)
