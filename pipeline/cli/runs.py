"""`colorize submit`, `follow`, `cancel` and `retry`: runs on a Kubeflow cluster."""

from typing import TYPE_CHECKING, Annotated

import typer

from model.utils.errors import UserError
from pipeline.cli.options import (
    By,
    ClusterOptions,
    Overrides,
    Recipe,
    ServerOptions,
    Variants,
    takes_cluster_options,
)
from pipeline.cli.output import note

if TYPE_CHECKING:
    from pipeline.cluster.client import Client

_Run = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or its name; of several, the newest.")]
_Follow = Annotated[bool, typer.Option("--follow", help="Progress of each step until the run ends.")]
_Timeout = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="End of --follow, whether or not the run has ended; 0: none.")
]


@takes_cluster_options
def submit(
    cluster: ClusterOptions,
    recipe: Recipe = "",
    overrides: Overrides = None,
    variants: Variants = "",
    by: By = "",
    data: Annotated[
        str,
        typer.Option(
            metavar="VERSION", help="Version of the photographs, or latest for the published one. Default: data.dvc."
        ),
    ] = "",
    evaluate: Annotated[
        int | None, typer.Option(metavar="V", min=1, help="Version to judge again, beside the present champion.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Run even if nothing is new; --no-cache implies it.")] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="No use of Kubeflow's cache: every step runs.")] = False,
    pipeline_root: Annotated[
        str | None, typer.Option(help="Where Kubeflow keeps the run's artifacts, such as s3://bucket/prefix.")
    ] = None,
    follow: _Follow = False,
    timeout: _Timeout = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Request as YAML, without sending it.")] = False,
) -> None:
    """Runs the retraining graph once on a cluster; with --variants it trains each, and the best one goes on."""
    import yaml

    from pipeline.cluster import runs
    from pipeline.cluster import submit as requests
    from pipeline.cluster.kubectl import retry_warning
    from pipeline.variants import Variants

    if evaluate:
        if recipe or overrides or variants or by or data or pipeline_root or dry_run or no_cache or again:
            raise UserError("--evaluate starts the version's own run again; leave out what would change the run.")
        with cluster.connect() as client:
            _show(client, runs.evaluate(client, evaluate), follow, timeout)
        return
    chosen, place = Variants.load(variants, recipe, tuple(overrides or ()), by), cluster.place
    arguments = requests.cluster_arguments(chosen, place, data or requests.recorded_version(), again or no_cache)
    package = requests.Package.current(cluster.cluster, not no_cache)
    if dry_run:
        shown = requests.request(package, arguments, place, cluster.namespace, pipeline_root)
        print(yaml.safe_dump(shown, sort_keys=False), end="")
        return
    with cluster.connect() as client:
        run_id = requests.submit(client, package, arguments, place, pipeline_root)
        if said := retry_warning():
            note(said)
        _show(client, run_id, follow, timeout)


@takes_cluster_options
def follow(cluster: ServerOptions, run: _Run, timeout: _Timeout = 0) -> None:
    """Shows the progress of a run until it ends; status 1 if it fails."""
    from pipeline.cluster import runs

    with cluster.connect() as client:
        runs.follow(client, client.find_run(run).run_id, timeout)


@takes_cluster_options
def cancel(cluster: ServerOptions, run: _Run) -> None:
    """Stops a run. Its exit task still tells people."""
    from pipeline.cluster import runs

    with cluster.connect() as client:
        found = client.find_run(run)
        runs.cancel(client, found)
        print(f"The run is being canceled: {client.run_address(found.run_id)}")


@takes_cluster_options
def retry(cluster: ServerOptions, run: _Run, follow: _Follow = False, timeout: _Timeout = 0) -> None:
    """Starts a failed run again, as a new one: its training goes on from its last checkpoint."""
    from pipeline.cluster import runs

    with cluster.connect() as client:
        _show(client, runs.retry(client, client.find_run(run)), follow, timeout)


def _show(client: "Client", run_id: str, follow: bool, timeout: float) -> None:
    from pipeline.cluster import runs

    print(f"The run is at {client.run_address(run_id)}", flush=True)
    if follow:
        runs.follow(client, run_id, timeout)
