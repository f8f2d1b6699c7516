"""The evaluate step's command line: `python -m components.evaluate --dataset outputs/dataset --model outputs/model`."""

from pathlib import Path
from typing import Annotated

import typer

from components.evaluate.step import evaluate
from components.shared.mlflow import registry
from components.shared.step import step
from model.config import load_config


def main(
    dataset: Annotated[str, typer.Option(help="What preprocess wrote; or s3://, where it published that.")],
    model: Annotated[Path, typer.Option(help="What train wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the scores and the report.")],
    champion: Annotated[
        str | None,
        typer.Option(help='Model to compare with: models:/... or a generator folder; "": none. Default: the champion.'),
    ] = None,
    params: Annotated[Path, typer.Option(help="File with every knob.")] = Path("params.yaml"),
    recipe: Annotated[list[Path] | None, typer.Option(help="File with overrides; may be repeated.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, for example evaluate.samples=8; may be repeated.")
    ] = None,
) -> None:
    """Scores a trained colorizer on the test photographs."""
    with step("evaluate"):
        config = load_config(params, tuple(recipe or ()), tuple(overrides or ()))
        if champion is None:
            found = registry.by_alias("champion")
            champion = found.uri if found else ""
        evaluate(dataset, model, out, config.evaluate, champion)
        print(f"Report: {out / 'report.html'}")


if __name__ == "__main__":
    typer.run(main)
