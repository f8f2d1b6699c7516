"""Rules for references between objects: configuration, secrets, accounts, selectors, ports."""

from collections.abc import Iterator

from k8s.check.manifests import Finding, Manifests, Object, Pod, matches

SECRETS = {
    "colorizer-s3": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "colorizer-mlflow": {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"},
    "colorizer-webhook": {"COLORIZE_WEBHOOK_URL"},
    "colorizer-postgres": {"PGUSER", "PGPASSWORD"},
    "mlflow-server": {"MLFLOW_FLASK_SERVER_SECRET_KEY", "MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD"},
}
"""Secrets that docs/operate/cluster.md creates, with their keys."""

FOREIGN_LABELS = {"workflows.argoproj.io/workflow"}
"""Labels of pods that other programs create: Argo, and Kubeflow Trainer (components/train/trainjob/manifest.py)."""


def config_maps(manifests: Manifests) -> Iterator[Finding]:
    """Requires every ConfigMap and key that a pod refers to."""
    for pod, path, reference, key, optional in _references(manifests, "configMap"):
        config = manifests.named("ConfigMap", reference)
        if config is None:
            if not optional:
                yield manifests.finding(
                    pod.owner, path, f"there is no ConfigMap {reference}; create it, or fix the name"
                )
        elif key and not optional and key not in config.get("data", {}):
            yield manifests.finding(pod.owner, path, f"ConfigMap {reference} has no key {key}; add it, or fix the name")


def secrets(manifests: Manifests) -> Iterator[Finding]:
    """Requires every Secret and key that a pod or monitor refers to."""
    for pod, path, reference, key, _ in _references(manifests, "secret"):
        yield from _secret(manifests, pod.owner, path, reference, key)
    for monitor in manifests.of("ServiceMonitor"):
        for number, endpoint in enumerate(monitor["spec"]["endpoints"]):
            for part, wanted in endpoint.get("basicAuth", {}).items():
                path = f"spec.endpoints[{number}].basicAuth.{part}"
                yield from _secret(manifests, monitor, path, wanted["name"], wanted["key"])


def service_accounts(manifests: Manifests) -> Iterator[Finding]:
    """Requires every service account that a pod names, and no token of the default account."""
    for pod in manifests.pods():
        name = pod.spec.get("serviceAccountName", "default")
        if name != "default" and not manifests.named("ServiceAccount", name):
            text = f"there is no ServiceAccount {name}; create it or correct the name"
            yield manifests.finding(pod.owner, f"{pod.path}.serviceAccountName", text)
        if name == "default" and pod.spec.get("automountServiceAccountToken") is not False:
            text = "gets the default account's token; set automountServiceAccountToken: false or name an account"
            yield manifests.finding(pod.owner, f"{pod.path}.automountServiceAccountToken", text)


def bindings(manifests: Manifests) -> Iterator[Finding]:
    """Requires the role and the accounts that a RoleBinding names."""
    for binding in manifests.of("RoleBinding"):
        if binding["roleRef"]["kind"] == "Role" and not manifests.named("Role", binding["roleRef"]["name"]):
            yield manifests.finding(binding, "roleRef.name", f"there is no Role {binding['roleRef']['name']}")
        for number, subject in enumerate(binding.get("subjects", [])):
            if subject["kind"] == "ServiceAccount" and not manifests.named("ServiceAccount", subject["name"]):
                text = f"there is no ServiceAccount {subject['name']}"
                yield manifests.finding(binding, f"subjects[{number}].name", text)


def selectors(manifests: Manifests) -> Iterator[Finding]:
    """Requires every selector to select something: pods, or a monitor's Service."""
    for owner in manifests.of("Deployment", "StatefulSet", "DaemonSet"):
        labels = owner["spec"]["template"].get("metadata", {}).get("labels", {})
        if not matches(owner["spec"]["selector"], labels):
            text = "does not select its own pods; give the template the same labels"
            yield manifests.finding(owner, "spec.selector", text)
    for service in manifests.of("Service"):
        if "selector" in service["spec"] and not _pods(manifests, {"matchLabels": service["spec"]["selector"]}):
            yield manifests.finding(service, "spec.selector", "selects no pod; correct the labels")
    for budget in manifests.of("PodDisruptionBudget"):
        if not _pods(manifests, budget["spec"]["selector"]):
            yield manifests.finding(budget, "spec.selector", "selects no pod; correct the labels")
    for policy in manifests.of("NetworkPolicy"):
        for path, selector in _policy_selectors(policy):
            if not _foreign(selector) and not _pods(manifests, selector):
                yield manifests.finding(policy, path, "selects no pod; correct the labels")
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
                        text = f"the container has no port {port}; it has: {_listed(_open(container))}"
                        yield manifests.finding(pod.owner, f"{path}.{probe}.{action}.port", text)
    for service in manifests.of("Service"):
        chosen = _pods(manifests, {"matchLabels": service["spec"].get("selector", {})})
        for number, port in enumerate(service["spec"]["ports"]):
            target = port.get("targetPort", port["port"])
            for pod in chosen:
                if target not in _pod_ports(pod):
                    text = f"its pods have no port {target}; they have: {_listed(_pod_ports(pod))}"
                    yield manifests.finding(service, f"spec.ports[{number}].targetPort", text)
    for monitor in manifests.of("ServiceMonitor"):
        names = {port.get("name") for service in _services(manifests, monitor) for port in service["spec"]["ports"]}
        for number, endpoint in enumerate(monitor["spec"]["endpoints"]):
            if names and endpoint["port"] not in names:
                text = f"its Service has no port {endpoint['port']}; it has: {_listed(names)}"
                yield manifests.finding(monitor, f"spec.endpoints[{number}].port", text)


def network_policy_ports(manifests: Manifests) -> Iterator[Finding]:
    """Requires the ports that a policy opens, in the pods that it guards or leads to."""
    for policy in manifests.of("NetworkPolicy"):
        guarded = policy["spec"]["podSelector"]
        for number, rule in enumerate(policy["spec"].get("ingress", [])):
            if guarded and not _foreign(guarded):
                yield from _closed(manifests, policy, f"spec.ingress[{number}].ports", rule, guarded)
        for number, rule in enumerate(policy["spec"].get("egress", [])):
            for peer in rule.get("to", []):
                if peer.get("podSelector") and "namespaceSelector" not in peer and not _foreign(peer["podSelector"]):
                    path = f"spec.egress[{number}].ports"
                    yield from _closed(manifests, policy, path, rule, peer["podSelector"])


def _closed(manifests: Manifests, policy: Object, path: str, rule: Object, selector: Object) -> Iterator[Finding]:
    there = set().union(*(_pod_ports(pod) for pod in _pods(manifests, selector)))
    for port in rule.get("ports", []):
        if there and port["port"] not in there:
            text = f"no pod behind it has port {port['port']}; they have: {_listed(there)}"
            yield manifests.finding(policy, path, text)


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


def _secret(manifests: Manifests, owner: Object, path: str, name: str, key: str) -> Iterator[Finding]:
    if name not in SECRETS:
        text = f"docs/operate/cluster.md creates no Secret {name}; it creates: {', '.join(sorted(SECRETS))}"
        yield manifests.finding(owner, path, text)
    elif key and key not in SECRETS[name]:
        text = f"Secret {name} has no key {key}; it has: {', '.join(sorted(SECRETS[name]))}"
        yield manifests.finding(owner, path, text)


def _pods(manifests: Manifests, selector: Object) -> list[Pod]:
    return [pod for pod in manifests.pods() if matches(selector, pod.labels)]


def _services(manifests: Manifests, monitor: Object) -> list[Object]:
    chosen = monitor["spec"]["selector"]
    return [each for each in manifests.of("Service") if matches(chosen, each["metadata"].get("labels", {}))]


def _policy_selectors(policy: Object) -> Iterator[tuple[str, Object]]:
    """Yields the policy's selectors of pods in its own namespace, with their paths."""
    yield "spec.podSelector", policy["spec"]["podSelector"]
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for number, rule in enumerate(policy["spec"].get(direction, [])):
            for place, peer in enumerate(rule.get(peers, [])):
                if "podSelector" in peer and "namespaceSelector" not in peer:
                    yield f"spec.{direction}[{number}].{peers}[{place}].podSelector", peer["podSelector"]


def _foreign(selector: Object) -> bool:
    keys = {rule["key"] for rule in selector.get("matchExpressions", [])} | selector.get("matchLabels", {}).keys()
    return bool(keys & FOREIGN_LABELS) or selector == {"matchLabels": {"app.kubernetes.io/name": "colorizer-train"}}


def _open(container: Object) -> set[str | int]:
    """Returns a container's ports, by number and by name."""
    return {port[key] for port in container.get("ports", []) for key in ("containerPort", "name") if key in port}


def _pod_ports(pod: Pod) -> set[str | int]:
    return set().union(*(_open(container) for _, container in pod.containers()))


def _listed(found: set[str | int]) -> str:
    return ", ".join(sorted(map(str, found))) or "none"
