"""`colorize data`: versions of the photographs and, for `push`, of the champion."""

from pathlib import Path
from typing import Annotated

import typer

from components.shared.machine.root import require_checkout
from model.utils.errors import UserError
from model.utils.signals import stoppable
from pipeline.cli.options import App, Json
from pipeline.cli.output import note, print_json
from pipeline.data.catalog import ABSENT, CATALOG, absent, read_catalog, read_strays

app = App(help="Versions of the photographs in data/.", no_args_is_help=True)
_Remote = Annotated[str | None, typer.Option(help="DVC remote. Default: the default remote of the repository.")]
_STOPPED = "stopped; run the same command again to resume."


@app.callback()
def _data(context: typer.Context) -> None:
    if context.invoked_subcommand != "fetch" and not Path("data.dvc").exists():
        require_checkout("`colorize data`")


@app.command()
def version(as_json: Json = False) -> None:
    """Shows which version of the photographs data/ holds, and fetches them if they are missing."""
    from components.shared.photos.folder import Folder
    from pipeline.data.versions import ensure_data

    with stoppable(_STOPPED):
        found = ensure_data(Path())
    if as_json:
        print_json({"version": found.version, "files": found.files, "note": found.note})
        return
    print(f"{found.version}, {found.files} files.", flush=True)
    if found.note:
        note(found.note)
    for sentence in Folder(found.folder).passed_by():
        note(f"passed by: {sentence}")
    if lacking := absent(found.folder):
        note(f"{lacking} photographs of the catalog are absent; data/{ABSENT} names them.")


@app.command()
def fetch(
    address: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEMPLATE",
            help="Address of a photograph, with {repository}, {commit}, {path} or {sha256_original}, such as that of a "
            "mirror; repeatable: tried in this order. Default: GitHub's.",
            envvar="COLORIZE_PHOTOGRAPH_ADDRESS",
        ),
    ] = None,
    catalog: Annotated[
        Path, typer.Option(help="Table of photographs.", dir_okay=False, show_default="pipeline/data/catalog.csv")
    ] = CATALOG,
    connections: Annotated[int, typer.Option(help="Connections to one host.", min=1, max=32)] = 6,
) -> None:
    """Brings the openly licensed photographs of the catalog into data/, beside the sample photographs.

    Each one comes from its own address at its commit and is checked by its SHA-256. What is there already stays.
    """
    from pipeline.data.download import ADDRESSES, Downloads
    from pipeline.data.fetch import fetch as bring
    from pipeline.data.versions import ensure_data

    downloads = Downloads(address or ADDRESSES, connections)
    entries = read_catalog(catalog)
    data = Path("data")
    with stoppable(_STOPPED):
        if Path("data.dvc").exists():
            ensure_data(Path())
        found = bring(entries, read_strays(), data, downloads, connections, note)
    differ = sum((found.there | found.new).get(entry.file, entry.sha256) != entry.sha256 for entry in entries)
    if differ:
        note(
            f"{differ} photographs have other bytes than the catalog's, because this Pillow encodes JPEG otherwise; "
            "they may fall into other splits than those of the champion."
        )
    print(
        f"data/ has {len(found.there) + len(found.new)} of {len(entries)} photographs of the catalog: {len(found.new)} "
        f"new, {len(found.gone)} gone, {found.dropped} left out as strays. `dvc add data` records them as a version."
    )
    if found.unavailable:
        raise UserError(
            f"{len(found.unavailable)} photographs could not be brought now; run the same command again for them."
        )


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
