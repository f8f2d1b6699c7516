"""The preprocess step's command line: `python -m components.preprocess --photos data --out outputs/dataset`."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from components.command import step
from components.datasets import publish
from components.preprocess.step import preprocess
from components.storage import Address
from model.config import load_config


def main(
    photos: Annotated[str, typer.Option(help="Folder of photographs, or s3://bucket/prefix of a DVC remote.")],
    out: Annotated[Path, typer.Option(help="Folder for the shards and the manifest.")],
    params: Annotated[Path, typer.Option(help="File with every knob.")] = Path("params.yaml"),
    recipe: Annotated[list[Path] | None, typer.Option(help="File with overrides; may be repeated.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, for example preprocess.size=128; may be repeated.")
    ] = None,
    data_version: Annotated[
        str | None, typer.Option(help="MD5 that names the photographs; by default that of the .dvc file beside them.")
    ] = None,
    published: Annotated[
        str, typer.Option("--publish", help="s3://bucket/prefix that the shards move to; they are streamed from there.")
    ] = "",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one for each processor.")] = None,
) -> None:
    """Turns photographs into LAB shards and a manifest with the fate of every file."""
    with step("preprocess"):
        config = load_config(params, tuple(recipe or ()), tuple(overrides or ()))
        version = data_version or _data_version(Path(photos))
        summary = preprocess(photos, out, config.preprocess, data_version=version, workers=workers)
        splits = ", ".join(f"{summary[split]} {split}" for split in ("train", "val", "test"))
        print(f"kept {summary['kept']} photographs: {splits}")
        for kind, count in summary["rejected"].items():
            print(f"rejected {count}: {kind}")
        if summary["labels"]:
            labels = ", ".join(f"{count} {name}" for name, count in summary["labels"].items())
            print(f"labels: {labels}; {summary['kept'] - sum(summary['labels'].values())} without")
        if published:
            print(f"published as {publish(out, Address.parse(published))}")
        print(f"ignored {summary['ignored']} other files; {out / 'manifest.parquet'} has a row for every file")


def _data_version(photos: Path) -> str:
    """The MD5 that the .dvc file beside the folder names."""
    try:
        tracked = yaml.safe_load(photos.with_name(f"{photos.name}.dvc").read_text(encoding="utf-8"))
        return str(tracked["outs"][0]["md5"])
    except (OSError, yaml.YAMLError, LookupError, TypeError):
        return "not under DVC"


if __name__ == "__main__":
    typer.run(main)
