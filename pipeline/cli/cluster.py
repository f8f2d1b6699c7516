"""`colorize compile`, `schedule` and `images`: the graph on a Kubeflow cluster."""

from pathlib import Path
from typing import Annotated

import typer

from components.shared.machine.root import ROOT, require_checkout
from pipeline.cli.options import App, ClusterFile, ClusterOptions, Json, group_with_default, takes_cluster_options
from pipeline.cli.output import note, print_json

schedule = App(
    cls=group_with_default("apply"),
    help="Recurring runs on a cluster. Without a command: apply.",
    no_args_is_help=False,
)
images = App(help="Container images of the steps and the server.", no_args_is_help=True)

_ScheduleFile = Annotated[Path, typer.Option(help="Schedule file.", dir_okay=False, show_default="schedules.yaml")]


def compile_(
    check: Annotated[
        bool, typer.Option("--check", help="Check of the files in the repository; nothing is written.")
    ] = False,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Pipeline and PipelineVersion for GitOps, written to --out.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Output file of --kubernetes.", dir_okay=False)] = Path(
        "retraining-k8s.yaml"
    ),
    namespace: Annotated[str, typer.Option(help="Namespace of the objects of --kubernetes.")] = "colorizer",
    cluster: ClusterFile = None,
) -> None:
    """Writes the generated files: pipeline/retraining.yaml, dvc.yaml, and docs/reference/ with steps and commands."""
    if not kubernetes:
        require_checkout("`colorize compile`")
    from pipeline import compile as compiled

    if check:
        for file in compiled.check(cluster):
            print(f"{file.relative_to(ROOT)} is current.")
    elif kubernetes:
        compiled.write_manifests(out, namespace, cluster)
        print(f"{out} is written.")
    else:
        for file in compiled.write(cluster):
            print(f"{file.relative_to(ROOT)} is written.")


@schedule.command()
@takes_cluster_options
def apply(cluster: ClusterOptions, file: _ScheduleFile = ROOT / "schedules.yaml") -> None:
    """Makes the recurring runs of the cluster match the schedule file."""
    from pipeline.cluster import schedule as schedules
    from pipeline.cluster.submit import Package

    package = Package.current(cluster.cluster)
    wanted = schedules.wanted(schedules.load(file), package, cluster.place)
    with cluster.connect() as client:
        changes = schedules.changes(wanted, client.all_recurring_runs())
        for change in changes:
            schedules.apply(client, package, cluster.place, change)
            print(f"{change.verb}: {change.name}", flush=True)
    if not changes:
        note(f"The cluster matches {file.name}.")


@schedule.command()
@takes_cluster_options
def diff(
    cluster: ClusterOptions,
    file: _ScheduleFile = ROOT / "schedules.yaml",
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit status 1 if there are differences.")] = False,
    as_json: Json = False,
) -> None:
    """Shows what `colorize schedule apply` would change."""
    from pipeline.cluster import schedule as schedules
    from pipeline.cluster.submit import Package

    wanted = schedules.wanted(schedules.load(file), Package.current(cluster.cluster), cluster.place)
    with cluster.connect() as client:
        changes = schedules.changes(wanted, client.all_recurring_runs())
    if as_json:
        print_json([{"change": change.verb, "name": change.name} for change in changes])
    else:
        for change in changes:
            print(f"to {change.verb}: {change.name}")
    if not changes:
        note(f"The cluster matches {file.name}.")
    raise typer.Exit(1 if exit_code and changes else 0)


@images.command()
def build(
    push: Annotated[str, typer.Option(metavar="REGISTRY", help="Registry to push to, such as ghcr.io/acme.")] = "",
    tool: Annotated[str, typer.Option(help="docker or podman. Default: the first one that is installed.")] = "",
    build_args: Annotated[
        list[str] | None,
        typer.Option("--build-arg", metavar="NAME=VALUE", help="Build argument of the Dockerfile; repeatable."),
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="IMAGE", help="Image: cpu, gpu or serving; repeatable. Default: all."),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Build without layers of earlier builds.")] = False,
) -> None:
    """Builds the container images and records their names in k8s/images/kustomization.yaml."""
    require_checkout("`colorize images build`")
    from components.images.names import FILE
    from pipeline.cluster import images

    images.build(push, tool, build_args or (), targets or (), use_cache=not no_cache)
    print(f"{FILE.relative_to(ROOT)} names the images; `colorize compile` writes them into the pipeline.")
