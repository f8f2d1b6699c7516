"""The register step's command line: registers, judges, and promotes or rejects, in one go.

`python -m components.register --model outputs/model --evaluation outputs/evaluation --inspection outputs/inspection
--out outputs/registration`
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from components.register import step as steps
from components.shared.machine.code import git_commit
from components.shared.step import step
from model.config import load_config
from model.utils.errors import UserError


def main(
    model: Annotated[Path, typer.Option(help="What train wrote.")],
    evaluation: Annotated[Path, typer.Option(help="What evaluate wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for registration.json and verdict.md.")],
    inspection: Annotated[
        Path | None, typer.Option(help="What inspect wrote about the photographs, to be kept with the version.")
    ] = None,
    params: Annotated[Path, typer.Option(help="File with every knob.")] = Path("params.yaml"),
    recipe: Annotated[list[Path] | None, typer.Option(help="File with overrides; may be repeated.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, for example train.images=2000; may be repeated.")
    ] = None,
    run_id: Annotated[str, typer.Option(help="Of the pipeline run, for the record.")] = "none: a step run by itself",
    image: Annotated[str, typer.Option(help="Digest of the container image, for the record.")] = "none: no image",
) -> None:
    """Registers a scored model as challenger and lets the gate decide whether it becomes the champion."""
    with step("register"):
        config = load_config(params, tuple(recipe or ()), tuple(overrides or ()))
        tags = {
            "git_commit": git_commit(),
            "data_version": _data_version(model),
            "recipe": "+".join(path.stem for path in recipe or ()) or "default",
            "pipeline_run_id": run_id,
            "image_digest": image,
        }
        record = steps.register(model, evaluation, out, config.register_, tags, inspection)
        (steps.promote if record["promote"] else steps.reject)(out)
        print(f"version {record['version']}: {record['outcome']}. {record['summary']}")
        for reason in record["reasons"]:
            print(f"  {'holds' if reason['holds'] else 'FAILS'}  {reason['metric']}: {reason['text']}")


def _data_version(model: Path) -> str:
    try:
        return str(json.loads((model / "training.json").read_bytes())["data_version"])
    except (OSError, ValueError, KeyError):
        raise UserError(f"{model / 'training.json'} does not name the data_version; train again.") from None


if __name__ == "__main__":
    typer.run(main)
