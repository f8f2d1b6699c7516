"""`colorize photo` and `colorize web`: the champion at work."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.output import note


def photo(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Photographs, or folders of photographs.")],
    out: Annotated[Path, typer.Option(help="Folder for <name>-colorized.<ext>.", file_okay=False)],
    model: Annotated[
        str, typer.Option(help="models:/colorizer@champion, models:/colorizer/3, or a generator folder.")
    ] = "models:/colorizer@champion",
    samples: Annotated[
        int,
        typer.Option(
            min=1,
            max=100,
            help="Colorings of each photograph, with other z. With the shipped champion, nobody sees a difference.",
        ),
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Random seed; the same seed gives the same colorings.")] = 0,
    label: Annotated[
        str | None, typer.Option(help="Label of the photographs, such as dusk, for a model trained with labels.")
    ] = None,
    strength: Annotated[
        float, typer.Option(min=0, max=1.5, help="Strength of the colors: 0 is gray, 1 is as the model predicts.")
    ] = 1.0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replacement of files that another program or setting made.")
    ] = False,
) -> None:
    """Colors photographs with the champion; lists at the end the ones that it cannot color.

    Hints, colors that the model is to use, stand in old.jpg.hints.json beside old.jpg.

    After an interruption, the same command resumes: it keeps the pictures that are finished.
    """
    from components.shared.mlflow import registry
    from model.inference.choices import Choices
    from pipeline.data.champion import CHAMPION, ensure_champion
    from serving.photos import color_photographs

    def generator() -> Path:
        if model == CHAMPION:
            ensure_champion()
        return registry.fetch(model)

    choices = Choices(seed, label, strength)
    done = color_photographs(files, out, generator, samples=samples, choices=choices, overwrite=overwrite)
    print(f"{done.colored} colored, {done.already_colored} already there, {len(done.failures)} failed.", flush=True)
    for sentence in done.passed_by:
        note(f"passed by: {sentence}")
    for failure in done.failures:
        note(f"error: {failure}")
    raise typer.Exit(1 if done.failures else 0)


def web(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every interface.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")] = 8080,
    model: Annotated[
        Path | None, typer.Option(help="Generator folder. Default: the champion of the registry.", file_okay=False)
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            envvar="COLORIZE_ALLOW_HOSTS",
            metavar="NAME",
            help="Name under which browsers and proxies reach the server, beside localhost and addresses in numbers; "
            "may be repeated. In the environment, names have spaces between.",
        ),
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(
            min=1,
            envvar="COLORIZE_MEMORY",
            help="Most memory of the server in MB. Default: the container's limit, or half of the machine's memory.",
        ),
    ] = None,
) -> None:
    """Serves the champion: a web page for photographs and a REST API."""
    from serving.address import bind

    sockets = bind(host, port)

    from pipeline.data.champion import ensure_champion
    from serving.limits import Limits
    from serving.served_models import ServedFolder, ServedModels
    from serving.server import serve

    limits = Limits(memory=memory and memory * 1_000_000)
    serve(sockets, ServedFolder(model) if model else ServedModels(ensure_champion), limits, allow_host or ())
