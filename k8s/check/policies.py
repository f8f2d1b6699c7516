"""Rules for network policies, across namespaces: what they select, what they open, and whether both sides agree."""

from collections.abc import Iterator
from dataclasses import dataclass

from k8s.check.compiled import Object
from k8s.check.manifests import Finding, Manifests, matches, namespace, title
from k8s.check.references import listed, pod_ports

_ARGO = {"workflows.argoproj.io/workflow": "any"}
_TRAIN = {"app.kubernetes.io/name": "colorizer-train", "app.kubernetes.io/part-of": "colorizer"}
FOREIGN = {
    "kube-system": {"k8s-app": "kube-dns"},
    "kubeflow": {"app": "ml-pipeline"},
    "monitoring": {"app.kubernetes.io/name": "prometheus"},
    "ingress-nginx": {"app.kubernetes.io/name": "ingress-nginx"},
    "webhooks": {"app": "webhook"},
}
"""Pods that other projects make: namespace -> labels of one. Add the namespaces that your overlay names."""

SIDES = {"ingress": "from", "egress": "to"}


@dataclass(frozen=True)
class Place:
    """Holds what a policy can select: a pod of ours, of Kubeflow, or of somebody else."""

    what: str
    namespace: str
    labels: dict[str, str]
    ports: frozenset[str | int] | None = None
    ours: bool = True


def selected(manifests: Manifests) -> Iterator[Finding]:
    """Requires every selector of a policy to select pods of ours, or pods that FOREIGN names."""
    known = _places(manifests)
    for policy in manifests.of("NetworkPolicy"):
        if not _guarded(policy, known):
            yield manifests.finding(policy, "spec.podSelector", "selects no pod; correct the labels")
        for path, _, peer in _peers(policy):
            if "ipBlock" not in peer and not _behind(manifests, policy, peer, known):
                text = "selects no pod of ours, and none of FOREIGN in k8s/check/policies.py; correct the labels"
                yield manifests.finding(policy, path, text)

    for policy in manifests.of("CiliumNetworkPolicy"):
        there = [place for place in known if place.namespace == namespace(policy)]
        if not any(matches(policy["spec"]["endpointSelector"], place.labels) for place in there):
            yield manifests.finding(policy, "spec.endpointSelector", "selects no pod; correct the labels")


def isolated(manifests: Manifests) -> Iterator[Finding]:
    """Requires every pod of ours to be closed in both directions, where there are policies at all."""
    policies = manifests.of("NetworkPolicy")
    for place in _places(manifests):
        if place.ours and any(namespace(policy) == place.namespace for policy in policies):
            for side in SIDES:
                if not any(_holds(policy, side, place) for policy in policies):
                    text = (
                        f"no policy closes {side} of {place.what}; add app.kubernetes.io/part-of: colorizer to its pods"
                    )
                    yield Finding(manifests.source, place.what, "labels", text)


def others(manifests: Manifests) -> Iterator[Finding]:
    """Refuses policies that also hold pods of others, such as notebooks in the same profile."""
    for policy in manifests.of("NetworkPolicy"):
        if matches(policy["spec"]["podSelector"], {"notebook-name": "mine"}):
            text = "selects pods of others too, such as notebooks; select app.kubernetes.io/part-of: colorizer"
            yield manifests.finding(policy, "spec.podSelector", text)


def protocols(manifests: Manifests) -> Iterator[Finding]:
    """Requires a protocol of every port: the API server adds it, and then every `kubectl apply` reports a change."""
    for policy in manifests.of("NetworkPolicy"):
        for side in SIDES:
            for number, rule in enumerate(policy["spec"].get(side, [])):
                for place, port in enumerate(rule.get("ports", [])):
                    if "protocol" not in port:
                        text = "has no protocol; write protocol: TCP"
                        yield manifests.finding(policy, f"spec.{side}[{number}].ports[{place}]", text)


def open_ports(manifests: Manifests) -> Iterator[Finding]:
    """Requires the ports that a policy opens, in the pods that it guards or leads to."""
    known = _places(manifests)
    for policy in manifests.of("NetworkPolicy"):
        for path, rule, peer in _peers(policy):
            into = path.startswith("spec.ingress")
            targets = _guarded(policy, known) if into else _behind(manifests, policy, peer, known)
            there: set[str | int] = set().union(*(place.ports or () for place in targets))
            if ("ipBlock" in peer and not into) or not targets or any(place.ports is None for place in targets):
                continue
            for port in rule.get("ports", []):
                if port["port"] not in there:
                    text = f"no pod behind it has port {port['port']}; they have: {listed(there)}"
                    yield manifests.finding(policy, f"{path.rpartition('.')[0]}.ports", text)


def both_sides(manifests: Manifests) -> Iterator[Finding]:
    """Requires that what a policy of one pod opens towards another, the policies of the other open as well."""
    known = [place for place in _places(manifests) if place.ours]
    for policy in manifests.of("NetworkPolicy"):
        for path, rule, peer in _peers(policy):
            if "podSelector" not in peer:
                continue
            side = path.split("[")[0].removeprefix("spec.")
            other = "egress" if side == "ingress" else "ingress"
            for one in _guarded(policy, known):
                for two in _behind(manifests, policy, peer, known):
                    served = one.ports if side == "ingress" else two.ports
                    for port in rule.get("ports", [{"port": None}]):
                        if served and port["port"] not in served:
                            continue  # open_ports tells
                        if not _lets(manifests, other, two, one, port["port"]):
                            text = f"opens {side} of {one.what} for {two.what}, whose policies close {other}"
                            yield manifests.finding(policy, path, f"{text} at port {port['port'] or 'any'}; open it")


def _places(manifests: Manifests) -> list[Place]:
    found = [Place(title(pod.owner), pod.namespace, pod.labels, frozenset(pod_ports(pod))) for pod in manifests.pods()]
    steps = manifests.pipeline.steps() if manifests.pipeline else ()
    labels = {tuple(sorted(step.labels.items())): step.name for step in steps}
    for where in manifests.homes:
        found += [Place(name, where, dict(each) | _ARGO, frozenset()) for each, name in labels.items()]
        found.append(Place("the pods of a TrainJob", where, _TRAIN))
        found.append(Place("Kubeflow's drivers", where, _ARGO, ours=False))
    return found + [Place(name, name, labels, ours=False) for name, labels in FOREIGN.items()]


def _guarded(policy: Object, known: list[Place]) -> list[Place]:
    there = [place for place in known if place.namespace == namespace(policy)]
    return [place for place in there if matches(policy["spec"]["podSelector"], place.labels)]


def _peers(policy: Object) -> Iterator[tuple[str, Object, Object]]:
    """Yields each peer of a policy's rules: its path, the rule, the peer."""
    for side, key in SIDES.items():
        for number, rule in enumerate(policy["spec"].get(side, [])):
            for place, peer in enumerate(rule.get(key, [])):
                yield f"spec.{side}[{number}].{key}[{place}]", rule, peer


def _behind(manifests: Manifests, policy: Object, peer: Object, known: list[Place]) -> list[Place]:
    """Returns the pods that a peer selects."""
    if "ipBlock" in peer:
        return []
    labels = {thing["metadata"]["name"]: thing["metadata"].get("labels", {}) for thing in manifests.of("Namespace")}
    found = []
    for place in known:
        own = labels.get(place.namespace, {}) | {"kubernetes.io/metadata.name": place.namespace}
        there = (
            matches(peer["namespaceSelector"], own)
            if "namespaceSelector" in peer
            else (place.namespace == namespace(policy))
        )
        if there and matches(peer.get("podSelector", {}), place.labels):
            found.append(place)
    return found


def _holds(policy: Object, side: str, place: Place) -> bool:
    return side.capitalize() in policy["spec"]["policyTypes"] and bool(_guarded(policy, [place]))


def _lets(manifests: Manifests, side: str, one: Place, two: Place, port: int | str | None) -> bool:
    """Returns whether the policies that hold a pod let it exchange with another; without any, they do."""
    holding = [policy for policy in manifests.of("NetworkPolicy") if _holds(policy, side, one)]
    for policy in holding:
        for rule in policy["spec"].get(side, []):
            ports = [each["port"] for each in rule.get("ports", [])]
            if any(_behind(manifests, policy, peer, [two]) for peer in rule.get(SIDES[side], [])) and (
                not ports or port in ports
            ):
                return True
    return not holding
