"""The preprocess step's command line: `python -m components.preprocess --photos data --out outputs/dataset`."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from components.preprocess.step import preprocess
from components.preprocess.store import Store
from components.shared.machine.code import code_version
from components.shared.machine.workspace import workspace
from components.shared.photos.source import remote
from components.shared.s3.client import Address, is_s3
from components.shared.s3.streaming.published import publish
from components.shared.step import step
from model.config import load_config


def main(
    photos: Annotated[
        str, typer.Option(help="Folder of photographs, or s3://bucket/prefix of a DVC remote or of photographs.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the shards and the manifest.")],
    params: Annotated[Path, typer.Option(help="File with every knob.")] = Path("params.yaml"),
    recipe: Annotated[list[Path] | None, typer.Option(help="File with overrides; may be repeated.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, for example preprocess.size=128; may be repeated.")
    ] = None,
    data_version: Annotated[
        str | None,
        typer.Option(
            help="MD5 that names the photographs; by default that of the .dvc file beside them, in S3 the latest."
        ),
    ] = None,
    published: Annotated[
        str, typer.Option("--publish", help="s3://bucket/prefix that the shards move to; they are streamed from there.")
    ] = "",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one for each processor.")] = None,
) -> None:
    """Turns photographs into LAB shards and a manifest with the fate of every file."""
    with step("preprocess"):
        config = load_config(params, tuple(recipe or ()), tuple(overrides or ()))
        version = data_version or _data_version(photos)
        store = Store(workspace() / "checkpoints", config.preprocess, code_version("preprocess"))
        summary = preprocess(photos, out, config.preprocess, data_version=version, workers=workers, store=store)
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


def _data_version(photos: str) -> str:
    """The MD5 that the .dvc file beside the folder names; in S3 the latest version."""
    if is_s3(photos):
        with remote(photos) as found:
            return found.latest()
    try:
        tracked = yaml.safe_load(Path(f"{photos.rstrip('/')}.dvc").read_text(encoding="utf-8"))
        return str(tracked["outs"][0]["md5"])
    except (OSError, yaml.YAMLError, LookupError, TypeError):
        return "not under DVC"


if __name__ == "__main__":
    typer.run(main)
