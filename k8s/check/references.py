"""Rules for references between objects, each looked up in its namespace: configuration, secrets, accounts, ports."""

import re
from collections.abc import Iterator

from k8s.check.compiled import Object
from k8s.check.manifests import Finding, Manifests, Pod, matches, namespace

_STEPS_SECRETS = {
    "colorizer-s3": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "colorizer-mlflow": {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"},
    "colorizer-webhook": {"COLORIZE_WEBHOOK_URL"},
    "colorizer-registry": {".dockerconfigjson"},
}
SECRETS = {
    "kubeflow": _STEPS_SECRETS,
    "colorizer": _STEPS_SECRETS
    | {
        "colorizer-postgres": {"PGUSER", "PGPASSWORD"},
        "mlflow-server": {"MLFLOW_FLASK_SERVER_SECRET_KEY", "MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD"},
    },
}
"""Secrets that docs/operate creates in each namespace, with their keys."""


def config_maps(manifests: Manifests) -> Iterator[Finding]:
    """Requires every ConfigMap and key that a pod refers to."""
    for pod, path, reference, key, optional in _references(manifests, "configMap"):
        config = manifests.named("ConfigMap", reference, pod.namespace)
        if config is None:
            if not optional:
                text = f"there is no ConfigMap {reference} in {pod.namespace}; create it, or fix the name"
                yield manifests.finding(pod.owner, path, text)
        elif key and not optional and key not in config.get("data", {}):
            yield manifests.finding(pod.owner, path, f"ConfigMap {reference} has no key {key}; add it, or fix the name")


def variables(manifests: Manifests) -> Iterator[Finding]:
    """Requires every variable that a command, an argument or another variable refers to: $(NAME) is no shell's."""
    for pod in manifests.pods():
        for path, container in pod.containers():
            known = {variable["name"] for variable in container.get("env", [])}
            maps = [each["configMapRef"]["name"] for each in container.get("envFrom", []) if "configMapRef" in each]
            found = [manifests.named("ConfigMap", name, pod.namespace) for name in maps]
            if None in found:
                continue  # config_maps tells
            known.update(*((config or {}).get("data", {}) for config in found))
            for source in container.get("envFrom", []):
                known |= SECRETS.get(pod.namespace, {}).get(source.get("secretRef", {}).get("name", ""), set())
            texts = container.get("command", []) + container.get("args", [])
            texts = [*texts, *(variable.get("value", "") for variable in container.get("env", []))]
            for name in re.findall(r"(?<!\$)\$\((\w+)\)", " ".join(texts)):
                if name not in known:
                    text = f"$({name}) has no value; define it in env, or in a ConfigMap of envFrom"
                    yield manifests.finding(pod.owner, path, text)


def secrets(manifests: Manifests) -> Iterator[Finding]:
    """Requires every Secret and key that a pod, a monitor or an account refers to."""
    for pod, path, reference, key, _ in _references(manifests, "secret"):
        yield from secret(manifests, pod.owner, path, reference, key)
    for monitor in manifests.of("ServiceMonitor"):
        for number, endpoint in enumerate(monitor["spec"]["endpoints"]):
            for part, wanted in endpoint.get("basicAuth", {}).items():
                path = f"spec.endpoints[{number}].basicAuth.{part}"
                yield from secret(manifests, monitor, path, wanted["name"], wanted["key"])
    for account in manifests.of("ServiceAccount"):
        for number, wanted in enumerate(account.get("imagePullSecrets", [])):
            path = f"imagePullSecrets[{number}]"
            yield from secret(manifests, account, path, wanted["name"], ".dockerconfigjson")


def secret(manifests: Manifests, owner: Object, path: str, name: str, key: str) -> Iterator[Finding]:
    """Requires a Secret and its key in the owner's namespace."""
    known = SECRETS.get(namespace(owner), {})
    if name not in known:
        text = f"docs/operate creates no Secret {name} in {namespace(owner)}; it creates: {', '.join(sorted(known))}"
        yield manifests.finding(owner, path, text)
    elif key and key not in known[name]:
        text = f"Secret {name} has no key {key}; it has: {', '.join(sorted(known[name]))}"
        yield manifests.finding(owner, path, text)


def service_accounts(manifests: Manifests) -> Iterator[Finding]:
    """Requires every service account that a pod names, and no token of the default account."""
    for pod in manifests.pods():
        name = pod.spec.get("serviceAccountName", "default")
        if name != "default" and not manifests.named("ServiceAccount", name, pod.namespace):
            text = f"there is no ServiceAccount {name} in {pod.namespace}; create it or correct the name"
            yield manifests.finding(pod.owner, f"{pod.path}.serviceAccountName", text)
        if name == "default" and pod.spec.get("automountServiceAccountToken") is not False:
            text = "gets the default account's token; set automountServiceAccountToken: false or name an account"
            yield manifests.finding(pod.owner, f"{pod.path}.automountServiceAccountToken", text)


def bindings(manifests: Manifests) -> Iterator[Finding]:
    """Requires the role and the accounts that a RoleBinding names."""
    for binding in manifests.of("RoleBinding"):
        role, home = binding["roleRef"]["name"], namespace(binding)
        if binding["roleRef"]["kind"] == "Role" and not manifests.named("Role", role, home):
            yield manifests.finding(binding, "roleRef.name", f"there is no Role {role} in {home}")
        for number, subject in enumerate(binding.get("subjects", [])):
            where, path = subject.get("namespace", "(none)"), f"subjects[{number}]"
            if subject["kind"] == "ServiceAccount" and not manifests.named("ServiceAccount", subject["name"], where):
                yield manifests.finding(binding, path, f"there is no ServiceAccount {subject['name']} in {where}")


def selectors(manifests: Manifests) -> Iterator[Finding]:
    """Requires every selector to select something in its namespace: pods, or a monitor's Service."""
    for owner in manifests.of("Deployment", "StatefulSet", "DaemonSet"):
        labels = owner["spec"]["template"].get("metadata", {}).get("labels", {})
        if not matches(owner["spec"]["selector"], labels):
            text = "does not select its own pods; give the template the same labels"
            yield manifests.finding(owner, "spec.selector", text)
    for service in manifests.of("Service"):
        if "selector" in service["spec"] and not _pods(manifests, service, service["spec"]["selector"]):
            yield manifests.finding(service, "spec.selector", "selects no pod; correct the labels")
    for budget in manifests.of("PodDisruptionBudget"):
        if not _pods(manifests, budget, budget["spec"]["selector"].get("matchLabels", {})):
            yield manifests.finding(budget, "spec.selector", "selects no pod; correct the labels")
    for monitor in manifests.of("ServiceMonitor"):
        if not _services(manifests, monitor):
            yield manifests.finding(monitor, "spec.selector", "selects no Service; correct the labels")


def ports(manifests: Manifests) -> Iterator[Finding]:
    """Requires the ports that probes, Services and monitors name."""
    for pod in manifests.pods():
        for path, container in pod.containers():
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                for action in ("httpGet", "tcpSocket", "grpc"):
                    port = container.get(probe, {}).get(action, {}).get("port")
                    if port is not None and port not in _open(container):
                        text = f"the container has no port {port}; it has: {listed(_open(container))}"
                        yield manifests.finding(pod.owner, f"{path}.{probe}.{action}.port", text)
    for service in manifests.of("Service"):
        chosen = _pods(manifests, service, service["spec"].get("selector", {}))
        for number, port in enumerate(service["spec"]["ports"]):
            target = port.get("targetPort", port["port"])
            for pod in chosen:
                if target not in pod_ports(pod):
                    text = f"its pods have no port {target}; they have: {listed(pod_ports(pod))}"
                    yield manifests.finding(service, f"spec.ports[{number}].targetPort", text)
    for monitor in manifests.of("ServiceMonitor"):
        names = {port.get("name") for service in _services(manifests, monitor) for port in service["spec"]["ports"]}
        for number, endpoint in enumerate(monitor["spec"]["endpoints"]):
            if names and endpoint["port"] not in names:
                text = f"its Service has no port {endpoint['port']}; it has: {listed(names)}"
                yield manifests.finding(monitor, f"spec.endpoints[{number}].port", text)


def pod_ports(pod: Pod) -> set[str | int]:
    """Returns a pod's ports, by number and by name."""
    return set().union(*(_open(container) for _, container in pod.containers()))


def listed(found: set[str | int]) -> str:
    return ", ".join(sorted(map(str, found))) or "none"


def _references(manifests: Manifests, kind: str) -> Iterator[tuple[Pod, str, str, str, bool]]:
    """Yields every use of a ConfigMap or Secret: pod, path, name, key (empty: all), whether it is optional.

    Args:
        kind: "configMap" or "secret".
    """
    for pod in manifests.pods():
        for path, container in pod.containers():
            for number, variable in enumerate(container.get("env", [])):
                wanted = variable.get("valueFrom", {}).get(f"{kind}KeyRef")
                if wanted:
                    there = f"{path}.env[{number}].valueFrom"
                    yield pod, there, wanted["name"], wanted["key"], bool(wanted.get("optional"))
            for number, source in enumerate(container.get("envFrom", [])):
                wanted = source.get(f"{kind}Ref")
                if wanted:
                    yield pod, f"{path}.envFrom[{number}]", wanted["name"], "", bool(wanted.get("optional"))
        for number, volume in enumerate(pod.spec.get("volumes", [])):
            wanted = volume.get(kind)
            if wanted:
                name = wanted["name" if kind == "configMap" else "secretName"]
                for item in wanted.get("items", [{"key": ""}]):
                    there = f"{pod.path}.volumes[{number}].{kind}"
                    yield pod, there, name, item["key"], bool(wanted.get("optional"))


def _pods(manifests: Manifests, owner: Object, labels: dict[str, str]) -> list[Pod]:
    """Returns the pods with these labels in the owner's namespace."""
    there = (pod for pod in manifests.pods() if pod.namespace == namespace(owner))
    return [pod for pod in there if matches({"matchLabels": labels}, pod.labels)]


def _services(manifests: Manifests, monitor: Object) -> list[Object]:
    chosen = monitor["spec"]["selector"]
    there = manifests.of_namespace("Service", namespace(monitor))
    return [each for each in there if matches(chosen, each["metadata"].get("labels", {}))]


def _open(container: Object) -> set[str | int]:
    """Returns a container's ports, by number and by name."""
    return {port[key] for port in container.get("ports", []) for key in ("containerPort", "name") if key in port}
