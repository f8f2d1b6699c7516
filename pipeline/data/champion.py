"""The champion that comes with the repository, in champion/, by DVC: for a registry that is still empty.

`python -m pipeline.data.champion export` writes champion/ from the registry's champion; `dvc add champion` and `dvc push`
record it.
"""

from typing import Annotated

import typer

from components.shared.mlflow import registry
from components.shared.step import step
from components.register.shipped import adopt, export
from pipeline import ROOT
from pipeline.data.versions import ensure_data

CHAMPION = "models:/colorizer@champion"


def ensure_champion() -> None:
    """Puts the shipped champion in service if nothing has ever been registered.

    Raises:
        UserError: champion/ cannot be had or is damaged; MLflow cannot be used.
    """
    if registry.find({}) is None:
        ensure_data(ROOT, "champion")
        version = adopt(ROOT / "champion")
        print(f"The registry was empty: version {version.number}, in service, is the champion of the repository.")


app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command("ensure")
def _ensure() -> None:
    """Puts the shipped champion in service if nothing has ever been registered."""
    with step("ensure"):
        ensure_champion()


@app.command("export")
def _export(model: Annotated[str, typer.Option(help="Which version to ship.")] = CHAMPION) -> None:
    """Writes champion/ from a version of the registry."""
    with step("export"):
        version = export(model, ROOT / "champion")
        print(f"champion/ holds version {version.number}; `dvc add champion` and `dvc push` record it.")


if __name__ == "__main__":
    app()
