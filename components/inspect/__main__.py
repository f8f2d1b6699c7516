"""The inspect step's command line: `python -m components.inspect --dataset outputs/dataset --out outputs/data`."""

from pathlib import Path
from typing import Annotated

import typer

from components.inspect.step import inspect
from components.shared.mlflow import registry
from components.shared.step import step
from model.config import load_config


def main(
    dataset: Annotated[Path, typer.Option(help="What preprocess wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the report and the figures.")],
    photos: Annotated[
        Path | None, typer.Option(help="Folder of photographs, for pictures of what was rejected.")
    ] = None,
    champion: Annotated[
        str | None, typer.Option(help='Version to compare with: models:/colorizer/3; "": none. Default: the champion.')
    ] = None,
    params: Annotated[Path, typer.Option(help="File with every knob.")] = Path("params.yaml"),
    recipe: Annotated[list[Path] | None, typer.Option(help="File with overrides; may be repeated.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, for example inspect.psi_stop=0.25; may be repeated.")
    ] = None,
) -> None:
    """Reports what the photographs are like, and how far they drifted from those of the champion."""
    with step("inspect"):
        config = load_config(params, tuple(recipe or ()), tuple(overrides or ()))
        if champion is None:
            found = registry.champion()
            champion = found.uri if found else ""
        result = inspect(dataset, photos, out, config.inspect, champion)
        for name, each in result["psi"].items():
            print(f"{name}: PSI {each['psi']:.3f}, {each['verdict']}")
        print(result["alarm"] or result["not_compared"] or "No drift.")
        print(f"Report: {out / 'data.html'}")


if __name__ == "__main__":
    typer.run(main)
