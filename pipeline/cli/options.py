"""Options that several commands share, and groups of commands that have a default."""

import inspect
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperGroup

from components.shared.machine.verbosity import VARIABLE

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pipeline.cluster.client import Client
    from pipeline.cluster.submit import Place

Recipe = Annotated[str, typer.Option(help="Recipes in recipes/, without .yaml, comma-separated; the last one wins.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override of one key, such as train.images=2000; repeatable."),
]
Variants = Annotated[
    str,
    typer.Option(
        metavar="A,B,...", help="Variants to compare, comma-separated: recipes, key=value, or several joined by +."
    ),
]
By = Annotated[str, typer.Option(metavar="METRIC", help="Metric that ranks the variants. Default: choose.by.")]
Json = Annotated[bool, typer.Option("--json", help="Output as JSON.")]
ClusterFile = Annotated[
    Path | None,
    typer.Option(
        help="YAML file that overrides keys of pipeline/cluster/settings.yaml.",
        envvar="COLORIZE_CLUSTER",
        dir_okay=False,
    ),
]


@dataclass(frozen=True)
class ServerOptions:
    """Holds the options of every command that speaks to Kubeflow Pipelines."""

    host: Annotated[
        str | None,
        typer.Option(
            help="Address of the Kubeflow Pipelines API. Default: the cluster of kubectl.",
            envvar="KF_PIPELINES_ENDPOINT",
        ),
    ] = None
    namespace: Annotated[
        str,
        typer.Option(
            help="Namespace of the Kubeflow profile; kubeflow on a standalone installation.",
            envvar="KF_PIPELINES_NAMESPACE",
        ),
    ] = "colorizer"
    token_file: Annotated[
        Path | None, typer.Option(help="Token of a service account.", envvar="KF_PIPELINES_SA_TOKEN_PATH")
    ] = None
    ca_file: Annotated[
        Path | None,
        typer.Option(help="CA certificate of the API server (PEM).", envvar="KF_PIPELINES_SSL_CA_CERT"),
    ] = None

    def connect(self) -> "AbstractContextManager[Client]":
        """Connects to the Kubeflow Pipelines API."""
        from pipeline.cluster.client import Endpoint

        return Endpoint(self.host, self.namespace, self.token_file, self.ca_file).connect()


@dataclass(frozen=True)
class ClusterOptions(ServerOptions):
    """Holds the options of every command that declares runs on a cluster."""

    photos: Annotated[
        str,
        typer.Option(
            help="Photographs: DVC remote or prefix s3://bucket/prefix, or a mounted folder.", envvar="COLORIZE_PHOTOS"
        ),
    ] = "s3://colorizer-data"
    checkpoints: Annotated[
        str, typer.Option(help="Checkpoints: s3://bucket/prefix or a mounted folder.", envvar="COLORIZE_CHECKPOINTS")
    ] = "s3://colorizer-checkpoints"
    experiment: Annotated[str, typer.Option(help="Kubeflow experiment.")] = "colorizer"
    service_account: Annotated[str, typer.Option(help="Service account of the step pods.")] = "colorizer-steps"
    cluster: ClusterFile = None

    @property
    def place(self) -> "Place":
        """Returns where the runs read photographs and write checkpoints."""
        from pipeline.cluster.submit import Place

        return Place(self.photos, self.checkpoints, self.experiment, self.service_account)


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only results and errors; no remarks, no progress.")]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Details: tables of a run, what libraries log, tracebacks of errors."),
]


class App(typer.Typer):
    """Gives each of its commands the options --quiet and --verbose, and help that cuts no word at 80 columns."""

    def __init__(self, **options: Any) -> None:
        """
        Args:
            **options: typer's.
        """
        super().__init__(rich_markup_mode=None, **options)  # typer's boxes leave 20 columns to the text

    def command(self, *args: Any, **options: Any) -> Callable[[Any], Any]:
        """Registers a function as a command."""

        def add(function: Callable[..., None]) -> Callable[..., None]:
            summary = inspect.cleandoc(options.get("help") or function.__doc__ or "").partition("\n")[0]
            register = super(App, self).command(*args, short_help=summary, **options)
            register(_takes_verbosity(function))
            return function

        return add


def set_verbosity(quiet: bool, verbose: bool) -> None:
    """Sets how much this program and those that it starts say; what neither option names stays as it is.

    Raises:
        typer.BadParameter: both are given.
    """
    if quiet and verbose:
        raise typer.BadParameter("--quiet and --verbose exclude each other.")
    if quiet or verbose:
        os.environ[VARIABLE] = "quiet" if quiet else "verbose"
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")


def _takes_verbosity(command: Callable[..., None]) -> Callable[..., None]:
    own = inspect.signature(command, eval_str=True)

    def expanded(quiet: bool, verbose: bool, **values: Any) -> None:
        set_verbosity(quiet, verbose)
        command(**values)

    added = [_option("quiet", False, Quiet), _option("verbose", False, Verbose)]
    return _shown_as(expanded, command, [*own.parameters.values(), *added])


def _option(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _shown_as(
    expanded: Callable[..., None], command: Callable[..., None], parameters: list[inspect.Parameter]
) -> Callable[..., None]:
    """Gives a function the name and the words of a command, and parameters for typer to see."""
    named = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    expanded.__name__, expanded.__doc__ = command.__name__, command.__doc__
    expanded.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    return expanded


def takes_cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the fields of its parameter `cluster`, whose type is one of the above, as options of its own."""
    own = inspect.signature(command, eval_str=True).parameters
    options = own["cluster"].annotation
    hints = get_type_hints(options, include_extras=True)
    added = [_option(field.name, field.default, hints[field.name]) for field in fields(options)]
    kept = [parameter for name, parameter in own.items() if name != "cluster"]

    def expanded(**values: Any) -> None:
        cluster = options(**{parameter.name: values.pop(parameter.name) for parameter in added})
        command(cluster=cluster, **values)

    return _shown_as(expanded, command, [*kept, *added])


def group_with_default(default: str) -> type[TyperGroup]:
    """Returns a class of groups that run this command when the arguments name none."""

    class Group(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
                args = [default, *args]
            return super().parse_args(ctx, args)

    return Group
