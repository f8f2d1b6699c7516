"""`colorize photo` and `colorize web`: the champion at work."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.output import note

if TYPE_CHECKING:
    from serving.delivery import Delivery


Strength = Annotated[
    float, typer.Option(min=0, max=1.5, help="Strength of the colors: 0 is gray, 1 is as the model predicts.")
]
Like = Annotated[
    Path | None,
    typer.Option(help="Colored photograph of the same roll, for the colors of what both show.", dir_okay=False),
]
NoMark = Annotated[
    bool, typer.Option("--no-mark", help="No mark in the metadata that a model made the colors.", show_default=False)
]
KeepAlpha = Annotated[
    bool, typer.Option("--keep-alpha", help="Opacity kept in PNG, TIFF and WebP. Default: blended with white.")
]
SignKey = Annotated[
    Path | None, typer.Option(help="Private key (PEM) that signs C2PA content credentials.", dir_okay=False)
]
SignCertificates = Annotated[
    Path | None, typer.Option(help="Certificates of that key (PEM), its own first.", dir_okay=False)
]


def photo(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Photographs, or folders of photographs.")],
    out: Annotated[Path, typer.Option(help="Folder for <name>-colorized.<ext>.", file_okay=False)],
    model: Annotated[
        str, typer.Option(help="models:/colorizer@champion, models:/colorizer/3, or a generator folder.")
    ] = "models:/colorizer@champion",
    samples: Annotated[
        int,
        typer.Option(
            min=1, max=100, help="Colorings of each photograph, with other z. The shipped champion's look alike."
        ),
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Random seed; the same seed gives the same colorings.")] = 0,
    label: Annotated[
        str | None, typer.Option(help="Label of the photographs, such as dusk, for a model trained with labels.")
    ] = None,
    strength: Strength = 1.0,
    like: Like = None,
    no_mark: NoMark = False,
    keep_alpha: KeepAlpha = False,
    sign_key: SignKey = None,
    sign_certificates: SignCertificates = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replacement of files that another program or setting made.")
    ] = False,
) -> None:
    """Colors photographs with the champion; lists at the end the ones that it cannot color.

    Each picture says in its metadata that a model made its colors.

    Hints, colors that the model is to use, stand in old.jpg.hints.json beside old.jpg.

    After an interruption, the same command resumes: it keeps the pictures that are finished.
    """
    from components.shared.mlflow import registry
    from components.shared.step import AGAIN
    from model.inference.choices import Choices
    from model.utils.signals import stoppable
    from pipeline.data.champion import CHAMPION, ensure_champion
    from serving.photos import color_photographs

    def generator() -> tuple[Path, int | None]:
        if model == CHAMPION:
            ensure_champion()
        folder = registry.fetch(model)
        return folder, registry.resolve(model).number if model.startswith("models:") else None

    delivery = _delivery(no_mark, sign_key, sign_certificates, keep_alpha=keep_alpha)
    choices = Choices(seed, label, strength)
    with stoppable(f"it was told to stop; {AGAIN}."):
        done = color_photographs(
            files, out, generator, samples=samples, choices=choices, like=like, delivery=delivery, overwrite=overwrite
        )
    print(f"{done.colored} colored, {done.already_colored} already there, {len(done.failures)} failed.", flush=True)
    for sentence in done.passed_by:
        note(f"passed by: {sentence}")
    for failure in done.failures:
        print(f"error: {failure}", file=sys.stderr)
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
    no_mark: NoMark = False,
    sign_key: SignKey = None,
    sign_certificates: SignCertificates = None,
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
    delivery = _delivery(no_mark, sign_key, sign_certificates)
    models = ServedFolder(model) if model else ServedModels(ensure_champion)
    serve(sockets, models, limits, allow_host or (), delivery)


def _delivery(no_mark: bool, key: Path | None, certificates: Path | None, *, keep_alpha: bool = False) -> "Delivery":
    """Returns how files are written.

    Raises:
        UserError: the key or its certificates cannot be used.
    """
    from model.utils.errors import UserError
    from serving.credentials import Credentials
    from serving.delivery import Delivery

    if (key is None) != (certificates is None):
        raise UserError("--sign-key and --sign-certificates belong together; give both or none.")
    credentials = Credentials(certificates, key) if key and certificates else None
    return Delivery(not no_mark, keep_alpha, credentials)
