"""Rules for containers: images, rights, resources, probes, secrets, mounts."""

import re
from collections.abc import Iterator
from decimal import Decimal

from k8s.check.compiled import Object
from k8s.check.manifests import Finding, Manifests, namespace

_PASSWORD_LIKE = re.compile(r"PASSW|SECRET|TOKEN|CREDENTIAL|ACCESS_KEY|PRIVATE_KEY", re.IGNORECASE)
_UNITS = {"m": Decimal("0.001"), "": Decimal(1), "k": Decimal(1000), "M": Decimal(1000**2), "G": Decimal(1000**3)}
_UNITS |= {f"{prefix}i": Decimal(1024) ** power for power, prefix in enumerate("KMGT", start=1)}


def image(manifests: Manifests) -> Iterator[Finding]:
    """Requires a tag other than latest, or a digest."""
    for pod in manifests.pods():
        for path, container in pod.containers():
            name, _, digest = container["image"].partition("@")
            tag = name.rpartition("/")[2].partition(":")[2]
            if tag == "latest" or not (tag or digest):
                text = f"{container['image']} may change without notice; name a version or a digest"
                yield manifests.finding(pod.owner, f"{path}.image", text)


def non_root(manifests: Manifests) -> Iterator[Finding]:
    """Requires a user other than root, by number: the kubelet cannot tell whether a user's name is root."""
    for pod in manifests.pods():
        for path, container in pod.containers():
            settings = pod.spec.get("securityContext", {}) | container.get("securityContext", {})
            if settings.get("runAsNonRoot") is not True or not settings.get("runAsUser"):
                text = "may run as root; set runAsNonRoot: true and runAsUser to a number above 0"
                yield manifests.finding(pod.owner, f"{path}.securityContext", text)


def read_only_root(manifests: Manifests) -> Iterator[Finding]:
    """Requires a read-only root filesystem."""
    for pod in manifests.pods():
        for path, container in pod.containers():
            if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
                text = "can write to its image; set readOnlyRootFilesystem: true and mount an emptyDir where it writes"
                yield manifests.finding(pod.owner, f"{path}.securityContext", text)


def no_escalation(manifests: Manifests) -> Iterator[Finding]:
    """Requires the rights of Pod Security's profile `restricted` at most."""
    for pod in manifests.pods():
        for path, container in pod.containers():
            own = container.get("securityContext", {})
            profile = (pod.spec.get("securityContext", {}) | own).get("seccompProfile", {}).get("type")
            dropped = own.get("capabilities", {}).get("drop", [])
            added = own.get("capabilities", {}).get("add", [])
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                text = "can gain rights; set allowPrivilegeEscalation: false and drop privileged"
                yield manifests.finding(pod.owner, f"{path}.securityContext", text)
            if dropped != ["ALL"] or added:
                text = "keeps capabilities; set capabilities: {drop: [ALL]}"
                yield manifests.finding(pod.owner, f"{path}.securityContext", text)
            if profile not in ("RuntimeDefault", "Localhost"):
                text = "may make any system call; set seccompProfile: {type: RuntimeDefault}"
                yield manifests.finding(pod.owner, f"{path}.securityContext", text)


def resources(manifests: Manifests) -> Iterator[Finding]:
    """Requires requests and limits of CPU and memory."""
    for pod in manifests.pods():
        for path, container in pod.containers():
            for part in ("requests", "limits"):
                missing = {"cpu", "memory"} - container.get("resources", {}).get(part, {}).keys()
                if missing:
                    text = f"has no {' and '.join(sorted(missing))}; set it"
                    yield manifests.finding(pod.owner, f"{path}.resources.{part}", text)


def requests_within_limits(manifests: Manifests) -> Iterator[Finding]:
    """Refuses requests above their limits."""
    for pod in manifests.pods():
        for path, container in pod.containers():
            limits = container.get("resources", {}).get("limits", {})
            for name, request in container.get("resources", {}).get("requests", {}).items():
                if name in limits and quantity(request) > quantity(limits[name]):
                    text = f"{request} is above the limit, {limits[name]}"
                    yield manifests.finding(pod.owner, f"{path}.resources.requests.{name}", text)


def within_limit_range(manifests: Manifests) -> Iterator[Finding]:
    """Refuses limits above the max of the namespace's LimitRange."""
    for limit_range in manifests.of("LimitRange"):
        for limit in limit_range["spec"]["limits"]:
            for pod in manifests.pods() if limit["type"] == "Container" else ():
                for path, container in pod.containers() if pod.namespace == namespace(limit_range) else ():
                    for name, most in limit.get("max", {}).items():
                        asked = container.get("resources", {}).get("limits", {}).get(name)
                        if asked and quantity(asked) > quantity(most):
                            text = f"{asked} is above the LimitRange's max, {most}"
                            yield manifests.finding(pod.owner, f"{path}.resources.limits.{name}", text)


def probes(manifests: Manifests) -> Iterator[Finding]:
    """Requires a readiness and a liveness probe of every container that is not meant to end."""
    for pod in manifests.pods():
        for path, container in pod.containers():
            for probe in ("readinessProbe", "livenessProbe"):
                if pod.runs_on and ".containers" in path and probe not in container:
                    yield manifests.finding(pod.owner, path, f"has no {probe}; add one")


def no_plain_secret(manifests: Manifests) -> Iterator[Finding]:
    """Refuses values of secrets in Secrets, environment variables and ConfigMaps."""
    for secret in manifests.of("Secret"):
        for part in ("data", "stringData"):
            if secret.get(part):
                text = "holds a secret; create it with `kubectl create secret` instead (docs/operate/cluster.md)"
                yield manifests.finding(secret, part, text)
    for pod in manifests.pods():
        for path, container in pod.containers():
            for number, variable in enumerate(container.get("env", [])):
                if variable.get("value") and _PASSWORD_LIKE.search(variable["name"]):
                    text = f"{variable['name']} has its value in the repository; use secretKeyRef"
                    yield manifests.finding(pod.owner, f"{path}.env[{number}].value", text)
    for config in manifests.of("ConfigMap"):
        for key in config.get("data", {}):
            if _PASSWORD_LIKE.search(key):
                text = f"{key} looks like a secret; keep it in a Secret"
                yield manifests.finding(config, f"data.{key}", text)


def mounts(manifests: Manifests) -> Iterator[Finding]:
    """Requires a volume for every mount."""
    for pod in manifests.pods():
        known = {volume["name"] for volume in pod.spec.get("volumes", [])} | _claims(pod.owner)
        for path, container in pod.containers():
            for number, mount in enumerate(container.get("volumeMounts", [])):
                if mount["name"] not in known:
                    text = f"there is no volume {mount['name']}; there are: {', '.join(sorted(known))}"
                    yield manifests.finding(pod.owner, f"{path}.volumeMounts[{number}]", text)


def quantity(text: str | int) -> Decimal:
    """Returns a Kubernetes quantity, such as 500m or 2Gi, as a number."""
    found = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", str(text))
    assert found, text  # the schemas refuse any other
    return Decimal(found[1]) * _UNITS[found[2]]


def _claims(owner: Object) -> set[str]:
    return {claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", [])}
