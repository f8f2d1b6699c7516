"""Rules about objects as such: what an API server refuses, or takes and never acts on, though their schemas hold."""

import ipaddress
import re
from collections.abc import Iterator

from k8s.check.manifests import Finding, Manifests, matches

_CLUSTER_SCOPED = {
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "PriorityClass",
    "ClusterQueue",
    "ResourceFlavor",
    "WorkloadPriorityClass",
}
_CRON_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def namespaces(manifests: Manifests) -> Iterator[Finding]:
    """What is not the whole cluster's says which namespace it belongs to: a declared one, or Kubeflow's own."""
    declared = {"kubeflow"} | {thing["metadata"]["name"] for thing in manifests.of("Namespace")}
    for thing in manifests.objects:
        name = thing["metadata"].get("namespace")
        if thing["kind"] in _CLUSTER_SCOPED:
            if name:
                yield manifests.finding(thing, "metadata.namespace", f"is the whole cluster's; drop {name}")
        elif name not in declared:
            text = f"{name or 'nothing'} is none of these: {', '.join(sorted(declared))}"
            yield manifests.finding(thing, "metadata.namespace", text)


def cron(manifests: Manifests) -> Iterator[Finding]:
    for job in manifests.of("CronJob"):
        if not valid_cron(job["spec"]["schedule"]):
            text = f"{job['spec']['schedule']!r} is no cron line: minute hour day month weekday"
            yield manifests.finding(job, "spec.schedule", text)
        if "timeZone" not in job["spec"]:
            text = "is missing: the schedule would follow the control plane's clock; set Etc/UTC"
            yield manifests.finding(job, "spec.timeZone", text)


def restart_policy(manifests: Manifests) -> Iterator[Finding]:
    for pod in manifests.pods():
        policy = pod.spec.get("restartPolicy", "Always")
        if pod.owner["kind"] in ("Job", "CronJob") and policy not in ("Never", "OnFailure"):
            text = f"{policy} is refused for a job; set Never or OnFailure"
            yield manifests.finding(pod.owner, f"{pod.path}.restartPolicy", text)
        if pod.runs_on and policy != "Always":
            yield manifests.finding(pod.owner, f"{pod.path}.restartPolicy", f"{policy} is refused here; leave it out")


def cidrs(manifests: Manifests) -> Iterator[Finding]:
    for policy in manifests.of("NetworkPolicy"):
        rules = policy["spec"].get("ingress", []) + policy["spec"].get("egress", [])
        peers = [peer for rule in rules for peer in rule.get("from", []) + rule.get("to", [])]
        for block in (peer["ipBlock"] for peer in peers if "ipBlock" in peer):
            try:
                network = ipaddress.ip_network(block["cidr"])
                excepted = [ipaddress.ip_network(each) for each in block.get("except", [])]
                outside = [str(each) for each in excepted if not each.subnet_of(network)]  # type: ignore[arg-type]
            except (ValueError, TypeError) as error:  # TypeError: one is IPv4, the other IPv6
                yield manifests.finding(policy, "spec ipBlock", f"{error}; write it as 10.0.0.0/8")
            else:
                if outside:
                    text = f"{', '.join(outside)} is not within {block['cidr']}, so excepting it is refused"
                    yield manifests.finding(policy, "spec ipBlock.except", text)


def budgets(manifests: Manifests) -> Iterator[Finding]:
    """What has replicas keeps some of them when a node is drained, and lets it be drained."""
    for owner in manifests.of("Deployment", "StatefulSet"):
        replicas, labels = owner["spec"].get("replicas", 1), owner["spec"]["template"]["metadata"]["labels"]
        chosen = [each for each in manifests.of("PodDisruptionBudget") if matches(each["spec"]["selector"], labels)]
        if replicas >= 2 and not chosen:
            yield manifests.finding(owner, "spec.replicas", f"{replicas} and no PodDisruptionBudget; add one")
        for budget in chosen:
            least = budget["spec"].get("minAvailable")
            if isinstance(least, int) and least >= replicas:
                text = f"{least} of {replicas} replicas: no node with one could ever be drained; lower it"
                yield manifests.finding(budget, "spec.minAvailable", text)


def valid_cron(line: str) -> bool:
    """Five fields of numbers, ranges, lists and steps."""
    fields = line.split()
    return len(fields) == len(_CRON_RANGES) and all(
        _valid_field(part, *ends) for field, ends in zip(fields, _CRON_RANGES, strict=True) for part in field.split(",")
    )


def _valid_field(part: str, least: int, most: int) -> bool:
    found = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?", part)
    if not found:
        return False
    first, last, step = (int(group) if group is not None else None for group in found.groups())
    if step == 0:
        return False
    if first is None:
        return True
    return least <= first <= (most if last is None else last) <= most
