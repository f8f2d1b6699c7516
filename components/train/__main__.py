"""The train step's command line: `python -m components.train --dataset outputs/dataset --out outputs/model`."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from components.command import step
from components.train.step import train
from model.config import load_config

_ROOT = Path(__file__).resolve().parents[2]


def main(
    dataset: Annotated[Path, typer.Option(help="What preprocess wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the trained model.")],
    checkpoints: Annotated[Path, typer.Option(help="Folder to resume from.")] = Path("workspace/checkpoints"),
    params: Annotated[Path, typer.Option(help="File with every knob.")] = Path("params.yaml"),
    recipe: Annotated[list[Path] | None, typer.Option(help="File with overrides; may be repeated.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, for example train.images=2000; may be repeated.")
    ] = None,
) -> None:
    """Trains a colorizer. Killed, or ended with status 75, it goes on when started again."""
    with step("train"):
        config = load_config(params, tuple(recipe or ()), tuple(overrides or ()))
        train(dataset, out, checkpoints, config.train, _code_version())


def _code_version() -> str:
    """A hash of the code below model/ and components/train/: a checkpoint of other code is not resumed."""
    digest = hashlib.sha256()
    for folder in ("model", "components/train"):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    typer.run(main)
