"""`colorize`: the one program of this project."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from components.shared.machine.workspace import VARIABLE, workspace
from components.shared.step import RETRY_ME, refused
from model.utils.errors import Interrupted, UserError
from pipeline import ROOT
from pipeline.cli import models

app = typer.Typer(
    help="Retrains an image colorizer, promotes it if it has earned it, and colors photographs with it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point: a user's mistake, and what the disk refuses, end in one line on stderr and exit status 1."""
    os.environ.setdefault(VARIABLE, str(ROOT / "workspace"))
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except Interrupted as error:
        print(f"interrupted: {error}", file=sys.stderr)
        sys.exit(RETRY_ME)
    except OSError as error:
        if not (known := refused(error)):
            raise
        print(f"error: {known}", file=sys.stderr)
        sys.exit(1)


_Variants = Annotated[
    str, typer.Option(help="Variants to compare, comma between: recipes, key=value, or some of these with + between.")
]
_By = Annotated[str, typer.Option(help="Metric that says which variant is best; default: choose.by.")]


@app.command()
def run(
    recipe: Annotated[
        str, typer.Option(help="Name of a file in recipes/, without .yaml; several, comma between.")
    ] = "",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override one key, such as train.images=2000."),
    ] = None,
    variants: _Variants = "",
    by: _By = "",
    photos: Annotated[
        Path | None,
        typer.Option(help="Folder of photographs; default: data/, brought by DVC.", file_okay=False, exists=True),
    ] = None,
) -> None:
    """Runs the whole retraining graph on this machine; of several --variants the best goes on."""
    from pipeline.data.champion import ensure_champion
    from pipeline.local import run as local_run
    from pipeline.local import summary
    from pipeline.variants import Variants

    chosen = Variants.load(variants, recipe, tuple(overrides or ()), by)
    if any(config.train.init.startswith("models:") for config in chosen.configs.values()):
        ensure_champion()
    result = local_run.run(chosen, photos)
    summary.show(result, workspace() / "latest")
    raise typer.Exit(result.exit_status)


@app.command()
def photo(
    files: Annotated[list[Path], typer.Argument(help="Photographs, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder for <name>-colorized.<ext>.", file_okay=False)],
    model: Annotated[
        str, typer.Option(help="models:/colorizer@champion, models:/colorizer/3, or a generator folder.")
    ] = "models:/colorizer@champion",
    samples: Annotated[int, typer.Option(min=1, max=100, help="Colorings of each photograph.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same colorings.")] = 0,
    label: Annotated[
        str | None, typer.Option(help="What they show, such as dusk, for a model that was trained with labels.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that something else made.")] = False,
) -> None:
    """Colors photographs with the champion; goes on past those that it cannot color, and lists them at the end.

    Cut off, the same command again goes on where it was: pictures that were made like this are left.
    """
    from components.shared.mlflow import registry
    from pipeline.data.champion import CHAMPION, ensure_champion
    from serving.photos import color_photographs

    def generator() -> Path:
        if model == CHAMPION:
            ensure_champion()
        return registry.fetch(model)

    done = color_photographs(files, out, generator, samples=samples, seed=seed, label=label, overwrite=overwrite)
    print(f"{done.colored} colored, {done.already_colored} already there, {len(done.failures)} failed.")
    for failure in done.failures:
        print(f"error: {failure}", file=sys.stderr)
    raise typer.Exit(1 if done.failures else 0)


_Cluster = Annotated[
    Path | None,
    typer.Option(
        help="YAML that overrides some of pipeline/cluster/settings.yaml.", envvar="COLORIZE_CLUSTER", dir_okay=False
    ),
]


@app.command("compile")
def compile_(
    check: Annotated[bool, typer.Option(help="Only say whether the YAML in the repository is current.")] = False,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Write Pipeline and PipelineVersion, for GitOps, to --out.")
    ] = False,
    out: Annotated[Path, typer.Option(help="File for --kubernetes.", dir_okay=False)] = Path("retraining-k8s.yaml"),
    namespace: Annotated[str, typer.Option(help="Of the objects of --kubernetes.")] = "colorizer",
    cluster: _Cluster = None,
) -> None:
    """Writes the compiled pipelines, pipeline/retraining.yaml and pipeline/sweep.yaml."""
    from pipeline import compile as compiled

    if check:
        for file in (compiled.COMPILED, compiled.SWEEP):
            compiled.check(cluster, file)
            print(f"{file.relative_to(ROOT)} is current.")
    elif kubernetes:
        compiled.write_manifests(out, namespace, cluster)
        print(f"{out} is written.")
    else:
        for file in (compiled.COMPILED, compiled.SWEEP):
            compiled.write(file, cluster, of=file)
            print(f"{file.relative_to(ROOT)} is written.")


_Host = Annotated[str | None, typer.Option(help="Kubeflow Pipelines' API.", envvar="KF_PIPELINES_ENDPOINT")]
_Namespace = Annotated[
    str, typer.Option(help="Kubeflow profile; kubeflow without profiles.", envvar="KF_PIPELINES_NAMESPACE")
]
_Token = Annotated[
    Path | None, typer.Option("--token-file", help="Service account's token.", envvar="KF_PIPELINES_SA_TOKEN_PATH")
]
_Ca = Annotated[Path | None, typer.Option("--ca-file", help="PEM, to trust.", envvar="KF_PIPELINES_SSL_CA_CERT")]
_Photos = Annotated[
    str, typer.Option(help="DVC remote, s3://bucket/prefix, or a mounted folder.", envvar="COLORIZE_PHOTOS")
]
_Checkpoints = Annotated[
    str, typer.Option(help="s3://bucket/prefix, or a mounted folder.", envvar="COLORIZE_CHECKPOINTS")
]
_Experiment = Annotated[str, typer.Option(help="Of Kubeflow Pipelines.")]
_Account = Annotated[str, typer.Option("--service-account", help="Of the steps' pods.")]


@app.command()
def submit(
    recipe: Annotated[str, typer.Option(help="As of `colorize run`.")] = "",
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key.")] = None,
    variants: _Variants = "",
    by: _By = "",
    data: Annotated[
        str, typer.Option(help="Version of the photographs, or latest: as published last; empty: that of data.dvc.")
    ] = "",
    photos: _Photos = "s3://colorizer-data",
    checkpoints: _Checkpoints = "s3://colorizer-checkpoints",
    experiment: _Experiment = "colorizer",
    service_account: _Account = "colorizer-steps",
    cluster: _Cluster = None,
    host: _Host = None,
    namespace: _Namespace = "colorizer",
    token_file: _Token = None,
    ca_file: _Ca = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show each step, to the end.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be sent, as YAML.")] = False,
) -> None:
    """Runs the retraining graph on a cluster, once; of several --variants the best goes on."""
    import yaml

    from pipeline.cluster import submit as runs
    from pipeline.cluster.client import Endpoint
    from pipeline.variants import Variants

    place = runs.Place(photos, checkpoints, experiment, service_account)
    chosen = Variants.load(variants, recipe, tuple(overrides or ()), by)
    arguments = runs.cluster_arguments(chosen, place, data or runs.recorded_version())
    package = runs.Package.current(cluster, sweep=len(chosen.configs) > 1)
    if dry_run:
        print(yaml.safe_dump(runs.request(package, arguments, place, namespace), sort_keys=False), end="")
        return
    with Endpoint(host, namespace, token_file, ca_file).connect() as client:
        run_id = runs.submit(client, package, arguments, place)
        print(f"The run is at {client.run_address(run_id)}", flush=True)
        if follow:
            runs.follow(client, run_id)


@app.command()
def schedule(
    file: Annotated[Path, typer.Option(help="What there should be.", dir_okay=False)] = ROOT / "schedules.yaml",
    photos: _Photos = "s3://colorizer-data",
    checkpoints: _Checkpoints = "s3://colorizer-checkpoints",
    experiment: _Experiment = "colorizer",
    service_account: _Account = "colorizer-steps",
    cluster: _Cluster = None,
    host: _Host = None,
    namespace: _Namespace = "colorizer",
    token_file: _Token = None,
    ca_file: _Ca = None,
    check: Annotated[bool, typer.Option("--check", help="Only show the difference; status 1 if there is any.")] = False,
) -> None:
    """Makes the cluster's recurring runs match schedules.yaml."""
    from pipeline.cluster import schedule as schedules
    from pipeline.cluster.client import Endpoint
    from pipeline.cluster.submit import Package, Place

    place = Place(photos, checkpoints, experiment, service_account)
    package = Package.current(cluster)
    wanted = schedules.wanted(schedules.load(file), package, place)
    with Endpoint(host, namespace, token_file, ca_file).connect() as client:
        todo = schedules.changes(wanted, client.all_recurring_runs())
        if check:
            for change in todo:
                print(f"to {change.verb}: {change.name}")
        else:
            schedules.apply(client, package, place, todo)
    if not todo:
        print(f"The cluster matches {file.name}.")
    raise typer.Exit(1 if check and todo else 0)


app.add_typer(models.app, name="models")
app.command()(models.promote)
app.command()(models.rollback)


@app.command()
def web(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8080,
    model: Annotated[
        Path | None, typer.Option(help="Generator folder, in place of the registry's champion.", file_okay=False)
    ] = None,
) -> None:
    """Serves the champion: a page to drop photographs on, and a REST API."""
    from pipeline.data.champion import ensure_champion
    from serving.served_models import ServedFolder, ServedModels
    from serving.server import serve

    serve(host, port, ServedFolder(model) if model else ServedModels(ensure_champion))


if __name__ == "__main__":
    main()
