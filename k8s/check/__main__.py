"""Command that checks every overlay, and the compiled pipeline against it: `python -m k8s.check`."""

import sys
from collections.abc import Callable, Iterator

from k8s.check import argo, containers, objects, pipeline, references, schemas
from k8s.check.manifests import ROOT, Finding, Manifests, render, render_with
from model.utils.errors import UserError

RULES: tuple[Callable[[Manifests], Iterator[Finding]], ...] = (
    containers.image,
    containers.non_root,
    containers.read_only_root,
    containers.no_escalation,
    containers.resources,
    containers.requests_within_limits,
    containers.within_limit_range,
    containers.probes,
    containers.no_plain_secret,
    containers.mounts,
    references.config_maps,
    references.secrets,
    references.service_accounts,
    references.bindings,
    references.selectors,
    references.ports,
    references.network_policy_ports,
    objects.namespaces,
    objects.cron,
    objects.restart_policy,
    objects.cidrs,
    objects.budgets,
)


OPTIONAL = ("kserve", "trainer")
"""Components that no overlay includes; the check adds each to every overlay."""


def check(manifests: Manifests) -> list[Finding]:
    """Checks the schemas, then, if these hold, the rules, which rely on objects of the right shape."""
    found = list(schemas.findings(manifests))
    return found or [finding for rule in RULES for finding in rule(manifests)]


def main() -> int:
    """Prints a line for each overlay and each finding; returns the exit status."""
    found = list(argo.findings())
    components = [ROOT / "k8s" / "components" / name for name in OPTIONAL]
    for folder in sorted((ROOT / "k8s" / "overlays").iterdir()):
        for manifests in (render(folder), *(render_with(folder, component) for component in components)):
            found += [*check(manifests), *pipeline.findings(manifests)]
            print(f"{manifests.source}: {len(manifests.objects)} objects, Kubernetes {', '.join(schemas.MINORS)}")
    for finding in found:
        print(finding, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
