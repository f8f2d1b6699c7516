"""Rules for objects that fit their schemas but that an API server would refuse or never act on."""

import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from k8s.check.manifests import Finding, Manifests, matches, namespace

_ENFORCED = ("restricted", "baseline")
_CLUSTER_SCOPED = {
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "PriorityClass",
    "ClusterQueue",
    "ResourceFlavor",
    "WorkloadPriorityClass",
}


def namespaces(manifests: Manifests) -> Iterator[Finding]:
    """Requires a declared namespace, or Kubeflow's, of every object that is not cluster-scoped."""
    declared = {"kubeflow"} | {thing["metadata"]["name"] for thing in manifests.of("Namespace")}
    for thing in manifests.objects:
        name = thing["metadata"].get("namespace")
        if thing["kind"] in _CLUSTER_SCOPED:
            if name:
                yield manifests.finding(thing, "metadata.namespace", f"is cluster-scoped; drop {name}")
        elif name not in declared:
            text = f"{name or 'nothing'} is not a declared namespace; choose from: {', '.join(sorted(declared))}"
            yield manifests.finding(thing, "metadata.namespace", text)


def pod_security(manifests: Manifests) -> Iterator[Finding]:
    """Requires that every namespace of ours enforces a profile of Pod Security: restricted, or baseline at least."""
    for thing in manifests.of("Namespace"):
        if thing["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") not in _ENFORCED:
            text = f"enforces no Pod Security; set pod-security.kubernetes.io/enforce to {' or '.join(_ENFORCED)}"
            yield manifests.finding(thing, "metadata.labels", text)


def cron(manifests: Manifests) -> Iterator[Finding]:
    """Requires a valid schedule and a time zone of every CronJob."""
    for job in manifests.of("CronJob"):
        schedule = job["spec"]["schedule"]
        try:
            CronSim(schedule, datetime.now(UTC))
        except CronSimError:
            text = f"{schedule!r} is not a cron schedule; write minute hour day month weekday"
            yield manifests.finding(job, "spec.schedule", text)
        if "timeZone" not in job["spec"]:
            text = "is missing, so the schedule follows the control plane's clock; set Etc/UTC"
            yield manifests.finding(job, "spec.timeZone", text)


def restart_policy(manifests: Manifests) -> Iterator[Finding]:
    """Requires a restart policy that the kind of object allows."""
    for pod in manifests.pods():
        policy = pod.spec.get("restartPolicy", "Always")
        if pod.owner["kind"] in ("Job", "CronJob") and policy not in ("Never", "OnFailure"):
            text = f"{policy} is refused for a job; set Never or OnFailure"
            yield manifests.finding(pod.owner, f"{pod.path}.restartPolicy", text)
        if pod.runs_on and policy != "Always":
            yield manifests.finding(pod.owner, f"{pod.path}.restartPolicy", f"{policy} is refused here; leave it out")


def cidrs(manifests: Manifests) -> Iterator[Finding]:
    """Requires valid addresses in network policies, and exceptions within them."""
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
    """Requires a disruption budget of everything replicated, and one that lets a node be drained."""
    for owner in manifests.of("Deployment", "StatefulSet"):
        replicas, labels = owner["spec"].get("replicas", 1), owner["spec"]["template"]["metadata"]["labels"]
        there = manifests.of_namespace("PodDisruptionBudget", namespace(owner))
        chosen = [each for each in there if matches(each["spec"]["selector"], labels)]
        if replicas >= 2 and not chosen:
            yield manifests.finding(owner, "spec.replicas", f"is {replicas} without a PodDisruptionBudget; add one")
        for budget in chosen:
            least = budget["spec"].get("minAvailable")
            if isinstance(least, int) and least >= replicas:
                text = f"is {least} of {replicas} replicas, so no node with one can be drained; lower it"
                yield manifests.finding(budget, "spec.minAvailable", text)
