"""The train step's command line: `python -m components.train --dataset outputs/dataset --out outputs/model`."""

from pathlib import Path
from typing import Annotated

import typer

from components.shared.machine.code import code_version
from components.shared.step import step
from components.train.launch import train
from model.config import load_config


def main(
    dataset: Annotated[str, typer.Option(help="What preprocess wrote; or s3://, where it published that.")],
    out: Annotated[Path, typer.Option(help="Folder for the trained model.")],
    checkpoints: Annotated[str, typer.Option(help="Folder or s3:// to resume from.")] = "workspace/checkpoints",
    params: Annotated[Path, typer.Option(help="File with every knob.")] = Path("params.yaml"),
    recipe: Annotated[list[Path] | None, typer.Option(help="File with overrides; may be repeated.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, for example train.images=2000; may be repeated.")
    ] = None,
) -> None:
    """Trains a colorizer. Killed, or ended with status 75, it goes on when started again."""
    with step("train"):
        config = load_config(params, tuple(recipe or ()), tuple(overrides or ()))
        train(dataset, out, checkpoints, config.train, code_version("train"))


if __name__ == "__main__":
    typer.run(main)
