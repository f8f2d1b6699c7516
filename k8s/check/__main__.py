"""Command that checks every overlay and the compiled pipeline beside it: `python -m k8s.check`."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from k8s.check import argo, compiled, containers, objects, pipeline, policies, quota, references, roles, schemas, wiring
from k8s.check.manifests import ROOT, Finding, Manifests, render, render_with
from model.utils.errors import UserError
from pipeline.compile import COMPILED, to_yaml

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
    references.variables,
    references.secrets,
    references.service_accounts,
    references.bindings,
    references.selectors,
    references.ports,
    policies.selected,
    policies.isolated,
    policies.others,
    policies.protocols,
    policies.open_ports,
    policies.both_sides,
    roles.needed,
    roles.used,
    roles.tokens,
    objects.namespaces,
    objects.pod_security,
    objects.cron,
    objects.restart_policy,
    objects.cidrs,
    objects.budgets,
    quota.quota,
    pipeline.steps,
    wiring.types,
)

OPTIONAL = ("cilium", "mlflow-ingress", "mlflow-plugin", "notebooks", "pull-secret", "web-ingress", "webhook")
"""Components that no overlay includes and that ask for no room: the check adds them together."""

SETTINGS = {
    "local": ROOT / "pipeline" / "cluster" / "local.yaml",
    "spot": Path(__file__).with_name("clusters") / "spot.yaml",
    "trainer": Path(__file__).with_name("clusters") / "trainer.yaml",
}
"""Settings of clusters, besides those that pipeline/retraining.yaml is compiled with."""


def check(manifests: Manifests) -> list[Finding]:
    """Checks the schemas, then, if these hold, the rules, which rely on objects of the right shape."""
    found = list(schemas.findings(manifests))
    return found or list(dict.fromkeys(finding for rule in RULES for finding in rule(manifests)))


def cases() -> Iterator[Manifests]:
    """Yields each overlay, bare and with optional components, beside the pipeline of fitting settings."""
    pipelines = {name: compiled.parse(to_yaml(path), path.name) for name, path in SETTINGS.items()}
    pipelines[""] = compiled.read(COMPILED)
    for overlay, components, settings in (
        ("local", (), "local"),
        ("local", OPTIONAL, "local"),
        ("production", (), ""),
        ("production", (), "spot"),
        ("production", (*OPTIONAL, "trainer"), "trainer"),
        ("production", ("kserve",), ""),
    ):
        folder = ROOT / "k8s" / "overlays" / overlay
        rendered = render_with(folder, *components) if components else render(folder)
        yield Manifests(rendered.source, rendered.objects, pipelines[settings])


def main() -> int:
    """Prints a line for each case and each finding; returns the exit status."""
    found = list(argo.findings())
    for manifests in cases():
        found += check(manifests)
        if manifests.pipeline and manifests.pipeline.source == SETTINGS["local"].name:
            found += quota.laptop(manifests)
        beside = manifests.pipeline.source if manifests.pipeline else "no pipeline"
        print(f"{manifests.source}, {beside}: {len(manifests.objects)} objects, Kubernetes {', '.join(schemas.MINORS)}")
    for finding in dict.fromkeys(found):
        print(finding, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
