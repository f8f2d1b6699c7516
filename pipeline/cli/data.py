"""`colorize data`: versions of the photographs and, for `push`, of the champion."""

from pathlib import Path
from typing import Annotated

import typer

from model.utils.signals import stoppable
from pipeline.cli.options import Json
from pipeline.cli.output import note, print_json

app = typer.Typer(help="Versions of the photographs in data/.", no_args_is_help=True)
_Remote = Annotated[str | None, typer.Option(help="DVC remote. Default: the default remote of the repository.")]
_STOPPED = "stopped; run the same command again to resume."


@app.command()
def version(as_json: Json = False) -> None:
    """Shows which version of the photographs data/ holds, and fetches them if they are missing."""
    from pipeline.data.versions import ensure_data

    with stoppable(_STOPPED):
        found = ensure_data(Path())
    if as_json:
        print_json({"version": found.version, "files": found.files, "note": found.note})
        return
    print(f"{found.version}, {found.files} files.", flush=True)
    if found.note:
        note(found.note)


@app.command()
def publish(remote: _Remote = None) -> None:
    """Pushes the version of data.dvc and marks it as the latest one of the remote."""
    from pipeline.data import versions

    with stoppable(_STOPPED):
        print(f"Published {versions.publish(Path(), remote)} as the latest version of the remote.")


@app.command()
def pull(remote: _Remote = None) -> None:
    """Fetches the version of data.dvc into data/."""
    from pipeline.data import versions

    with stoppable(_STOPPED):
        print(f"data/ is at the version of data.dvc; fetched {versions.pull(Path(), remote)} files.")


@app.command()
def push(remote: _Remote = None) -> None:
    """Copies the versions of data.dvc and champion.dvc to the remote."""
    from pipeline.data import versions

    with stoppable(_STOPPED):
        for name in ("data", "champion"):
            if name == "data" or Path(f"{name}.dvc").exists():  # a clone may have no champion
                pushed = versions.push(Path(), remote, name)
                print(f"The remote has the version of {name}.dvc; pushed {pushed} new files.", flush=True)
