"""`colorize models`, `promote` and `rollback`: the registry."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.shared.machine.root import require_checkout
from pipeline.cli.options import App, Json, group_with_default
from pipeline.cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from components.shared.mlflow.registry import Version

app = App(cls=group_with_default("list"), help="Versions in the model registry. Without a command: list.")

_Which = Annotated[str, typer.Argument(metavar="V", help="Number of a version, or an alias such as champion.")]
_Maybe = Annotated[str | None, typer.Argument(metavar="[V]", help="Number of a version, or an alias.")]
_Reason = Annotated[str, typer.Option(help="Reason, for the history.")]
_NONE = "none given"


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Lists the versions, newest first, with their metrics and verdicts."""
    from pipeline import tables
    from pipeline.data.champion import ensure_champion

    ensure_champion()
    rows = tables.version_rows()
    if as_json:
        print_json(rows)
    else:
        print_table(tables.versions_table(rows))


@app.command()
def show(
    version: _Which,
    photographs: Annotated[bool, typer.Option("--photographs", help="List of every photograph.")] = False,
    as_json: Json = False,
) -> None:
    """Shows a version: verdict, code, run, parameters, report, figures by folder and label, and photographs."""
    from pipeline import tables

    found = _resolve(version)
    facts, slices, rows, manifest = tables.facts(found), _slices(found), *_photographs(found)
    if as_json:
        print_json(facts | {"slices": slices} | ({"photographs": rows} if photographs else {}))
        return
    print_table(tables.facts_table(facts))
    if slices:
        print_table(tables.slices_table(slices))
    if manifest is None:
        data = found.tags.get("data_version", "unknown")
        note(
            f"No manifest was kept with version {found.number}. Its photographs are version {data} of data/, "
            f"which DVC fetches at commit {facts['git_commit']}."
        )
        return
    print(f"{len(rows)} files, with split, SHA-256 and status: {manifest}")
    if photographs:
        for row in rows:
            print(f"{row['split'] or row['status']:<9}{row['sha256']}  {row['path']}")


@app.command()
def compare(
    one: _Which,
    other: _Which,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for metrics, report and pictures. Default: in the workspace.", file_okay=False),
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(
            help="Dataset of preprocess. Default: data/ at the size of the first version.", file_okay=False, exists=True
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Scores two versions on the same test photographs, with intervals and pictures; records nothing."""
    from components.evaluate.step import score
    from components.shared.machine.workspace import workspace
    from components.shared.mlflow import registry
    from pipeline import ROOT, tables
    from pipeline.config import load_config

    ours, theirs = _resolve(one), _resolve(other)
    model = registry.fetch(ours.uri)
    folder = out or workspace() / "compare" / f"{ours.number}-{theirs.number}"
    names = {"challenger": f"version {ours.number}", "champion": f"version {theirs.number}"}
    photographs = dataset or _dataset(model)
    config = load_config(ROOT / "params.yaml").evaluate
    result = score(photographs, model, folder, config, theirs.uri, workspace() / "cache" / "weights", names)
    if as_json:
        print_json(result | {"folder": str(folder)})
        return
    print_table(tables.comparison_table(result, names))
    print(f"side by side: {folder / 'side_by_side.png'}\nreport: {folder / 'report.html'}")


@app.command()
def history(as_json: Json = False) -> None:
    """Lists every change of the champion, newest first: when, who, from which version to which, and why."""
    from components.shared.mlflow import promotion
    from pipeline import tables

    entries = promotion.history()[::-1]
    if as_json:
        print_json([asdict(entry) for entry in entries])
    else:
        print_table(tables.history_table(entries))


@app.command()
def export(
    version: _Which,
    out: Annotated[Path, typer.Option(help="Folder to write; one of an earlier export is replaced.", file_okay=False)],
    onnx: Annotated[bool, typer.Option("--onnx", help="Generator as generator.onnx, too.")] = False,
) -> None:
    """Writes a version with its evaluation and tags to a folder, for `colorize models import` and other programs."""
    from components.register.shipped import export

    if onnx:
        from pipeline.onnx import require_onnx, write_onnx

        require_onnx()
    found = _resolve(version)
    export(found.uri, out)
    if onnx:
        write_onnx(out)
    print(f"{out} holds version {found.number}.")


@app.command("import")
def import_(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]",
            help="Folder of an export. Default: champion/, fetched by DVC.",
            file_okay=False,
            exists=True,
        ),
    ] = None,
) -> None:
    """Registers an exported version, and promotes it to champion if there is none."""
    from components.register.shipped import adopt
    from components.shared.mlflow import registry
    from pipeline.data.champion import bring_champion

    number = adopt(folder or bring_champion()).number
    print(f"version {number}: {', '.join(registry.aliases(number)) or 'no alias'}.")


@app.command()
def prune(
    keep: Annotated[int, typer.Option(min=0, metavar="N", help="Number of versions without an alias to keep.")],
    yes: Annotated[bool, typer.Option("--yes", help="Deletion without a question.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List of these versions; nothing is deleted.")] = False,
) -> None:
    """Deletes the oldest versions without an alias, and keeps the newest N of them."""
    from components.shared.mlflow import registry

    named = set(registry.model().aliases.values())
    spare = [version for version in registry.find_all({}) if version.number not in named]
    doomed = spare[: max(0, len(spare) - keep)]
    if not doomed:
        note("There is nothing to delete.")
        return
    if not dry_run and not yes:
        numbers = ", ".join(str(version.number) for version in doomed)
        typer.confirm(f"Delete version {numbers} of {registry.MODEL}?", abort=True, err=True)
    for version in doomed:
        if not dry_run:
            registry.delete(version.number)
        print(f"{'would delete' if dry_run else 'deleted'} version {version.number}", flush=True)


def promote(
    version: _Maybe = None,
    reason: _Reason = "",
    proposed: Annotated[bool, typer.Option("--proposed", help="The proposed version; by the gate's rules.")] = False,
) -> None:
    """Promotes a version to champion after checking its files and a test coloring."""
    from components.register.approval import approve
    from components.shared.mlflow import promotion

    if not version and not proposed:
        raise typer.BadParameter("write a version, or --proposed", param_hint="V")
    if proposed and not reason:
        raise typer.BadParameter("write why it is promoted", param_hint="--reason")
    found = _resolve(version) if version else None
    if found and not proposed:
        champion = promotion.promote(found.number, reason or _NONE)
    else:
        champion = approve(reason, found.number if found else None)
    print(f"champion is version {champion.number}.")


def reject(
    reason: Annotated[str, typer.Option(help="Reason, for people.")],
    version: _Maybe = None,
) -> None:
    """Rejects the proposed version; the champion stays."""
    from components.register.approval import reject

    print(f"version {reject(reason, _resolve(version).number if version else None).number} is rejected.")


def rollback(reason: _Reason = _NONE) -> None:
    """Promotes the version that the champion replaced; a second rollback undoes the first."""
    from components.shared.mlflow import promotion

    print(f"champion is version {promotion.rollback(reason).number}.")


def _resolve(named: str) -> "Version":
    """Returns the version of a number or an alias.

    Raises:
        UserError: there is none.
    """
    from components.shared.mlflow import registry
    from pipeline.data.champion import ensure_champion

    ensure_champion()
    return registry.resolve(f"models:/{registry.MODEL}{'/' if named.isdigit() else '@'}{named}")


def _slices(version: "Version") -> dict[str, Any]:
    """Reads the figures of a version by folder and label; empty where none were kept."""
    from components.shared.mlflow import evaluations

    slices: dict[str, Any] = json.loads(evaluations.read(version, "metrics.json") or "{}").get("slices", {})
    return slices


def _photographs(version: "Version") -> tuple[list[dict[str, str]], Path | None]:
    """Reads the manifest of a version: its rows and the file; nothing and None where none was kept."""
    import pyarrow.parquet as pq

    from components.shared.machine.workspace import workspace
    from components.shared.mlflow import evaluations

    folder = workspace() / "cache" / "manifests" / str(version.number)
    manifest = evaluations.copy(version, "manifest.parquet", folder)
    if manifest is None:
        return [], None
    return pq.read_table(manifest, columns=["split", "status", "sha256", "path"]).to_pylist(), manifest


def _dataset(model: Path) -> Path:
    """Preprocesses data/ at the size of a model, once for each version of the photographs; returns the folder."""
    from components.preprocess.step import preprocess
    from components.shared.machine.workspace import workspace
    from pipeline import ROOT
    from pipeline.config import load_config
    from pipeline.data.versions import ensure_data

    require_checkout("`colorize models compare` without --dataset")
    size = json.loads((model / "generator.json").read_bytes())["size"]
    data = ensure_data(ROOT)
    config = load_config(ROOT / "params.yaml").preprocess.model_copy(update={"size": size})
    folder = workspace() / "compare" / f"dataset-{data.version[:12]}-{size}"
    if not (folder / "dataset.json").is_file():
        preprocess(data.folder, folder, config, data_version=data.version)
    return folder
