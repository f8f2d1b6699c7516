"""Entry point of the program `colorize`."""

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from components.shared.machine.root import INSTALLED, ROOT
from components.shared.machine.verbosity import is_verbose
from components.shared.machine.workspace import VARIABLE
from components.shared.step import RETRY_ME, disk_error
from model.utils.errors import Interrupted, UserError
from pipeline.cli import cluster, data, models, runs, serving, step
from pipeline.cli.doctor import doctor
from pipeline.cli.groups import is_ours, missing_group
from pipeline.cli.options import App, Quiet, Verbose, set_verbosity
from pipeline.cli.renamed import reject_old_names
from pipeline.cli.run import run

app = App(
    help="Retrains an image colorizer, promotes it if it is better, and colors photographs with it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from components.shared.machine.code import git_commit

        print(f"colorize {version('colorize')}, commit {git_commit()}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", help="Version and git commit.", callback=_show_version, is_eager=True)
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    set_verbosity(quiet, verbose)


app.command()(run)
app.add_typer(step.app, name="step")
app.command()(step.steps)
app.command()(serving.photo)
app.command()(serving.web)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.command()(models.promote)
app.command()(models.reject)
app.command()(models.rollback)
app.command("compile")(cluster.compile_)
app.command()(runs.submit)
app.command()(runs.follow)
app.command()(runs.cancel)
app.command()(runs.retry)
app.add_typer(cluster.schedule, name="schedule")
app.add_typer(cluster.images, name="images")
app.command()(doctor)


def _open_closed_streams() -> None:
    """Opens /dev/null for the standard streams that are closed: else the next file that is opened takes their place."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", encoding="utf-8"))


def _workspace() -> Path:
    """Returns workspace/ in the checkout, or the user's folder for the data of this program where it is a package."""
    if not INSTALLED:
        return ROOT / "workspace"
    from platformdirs import user_data_path

    return user_data_path("colorize")


def main() -> None:
    """Runs the program. A user's mistake ends in one line on stderr and status 1, an interruption in status 75."""
    _open_closed_streams()
    os.environ.setdefault(VARIABLE, str(_workspace()))
    reject_old_names(sys.argv[1:])
    try:
        app()
    except UserError as error:
        if is_verbose():
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except Interrupted as error:
        print(f"interrupted: {error}", file=sys.stderr)
        sys.exit(RETRY_ME)
    except ModuleNotFoundError as error:
        if is_ours(error.name or ""):
            raise
        print(f"error: {missing_group(sys.argv[1:], error.name or '')}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if not (known := disk_error(error)):
            raise
        print(f"error: {known}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
