"""`colorize models`: the registry's versions as tables, where one comes from, and how two compare."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.shared.machine.workspace import workspace
from components.shared.mlflow import connection, promotion, registry
from model.config import load_config
from pipeline import ROOT

Which = Annotated[str, typer.Argument(metavar="V", help="Number of a version, or an alias such as champion.")]

app = typer.Typer(help="Versions in the registry.", invoke_without_command=True)


@app.callback()
def _list(context: typer.Context) -> None:
    """Lists the versions, the newest first: figures with their change against the champion they were judged by."""
    if context.invoked_subcommand is None:
        _ensure()
        _console().print(versions_table())


@app.command()
def show(
    version: Which,
    photographs: Annotated[bool, typer.Option("--photographs", help="List every photograph, too.")] = False,
) -> None:
    """Shows where a version comes from: verdict, code, run, parameters, report, and the photographs."""
    found, console = resolve(version), _console()
    table = Table(title=f"Version {found.number} of {registry.MODEL}", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in facts(found).items():
        table.add_row(name, escape(text))
    console.print(table)
    folder = workspace() / "cache" / "manifests" / str(found.number)
    manifest = registry.kept(found, "manifest.parquet", folder)
    if manifest is None:
        console.print(
            "No manifest was kept with this version. Its photographs are version "
            f"{found.tags['data_version']} of data/, which DVC brings at commit {_commit(found)}."
        )
        return
    import pyarrow.parquet as pq

    rows = pq.read_table(manifest, columns=["split", "status", "sha256", "path"]).to_pylist()
    console.print(f"{len(rows)} files, with their split, SHA-256 and fate, in {manifest}")
    if photographs:
        for row in rows:
            print(f"{row['split'] or row['status']:<9}{row['sha256']}  {row['path']}")


@app.command()
def compare(
    one: Which,
    other: Which,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for figures, report and pictures. Default: in workspace/.", file_okay=False),
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(
            help="What preprocess wrote. Default: data/ at the size of the first.", file_okay=False, exists=True
        ),
    ] = None,
) -> None:
    """Scores two versions on the same test photographs, with intervals and side by side pictures; records nothing."""
    from components.evaluate.step import score

    ours, theirs = resolve(one), resolve(other)
    model = registry.fetch(ours.uri)
    folder = out or workspace() / "compare" / f"{ours.number}-{theirs.number}"
    names = {"challenger": f"version {ours.number}", "champion": f"version {theirs.number}"}
    photographs = dataset or _dataset(model)
    config = load_config(ROOT / "params.yaml").evaluate
    result = score(photographs, model, folder, config, theirs.uri, workspace() / "cache" / "weights", names)
    console = _console()
    console.print(_comparison(result, names))
    console.print(f"side by side: {folder / 'side_by_side.png'}\nreport: {folder / 'report.html'}", soft_wrap=True)


@app.command()
def history() -> None:
    """Lists every move of the alias champion, the newest first: when, who, from which version to which, and why."""
    table = Table("when (UTC)", "what", "version", "before", "who", "why")
    for line in reversed(promotion.history()):
        origin = "" if line.origin is None else str(line.origin)
        when = line.at.replace("T", " ").partition(".")[0]
        table.add_row(when, line.action, str(line.version), origin, *(escape(text) for text in (line.by, line.reason)))
    console = _console()
    console.print(table)


def promote(version: Which, reason: Annotated[str, typer.Option(help="Why, for the record.")] = "none given") -> None:
    """Puts a version in service, if its files are whole and color a photograph."""
    print(f"champion is version {promotion.promote(resolve(version).number, reason).number}.")


def rollback(reason: Annotated[str, typer.Option(help="Why, for the record.")] = "none given") -> None:
    """Puts the version back in service that the champion replaced; a second rollback undoes the first."""
    print(f"champion is version {promotion.rollback(reason).number}.")


def resolve(named: str) -> registry.Version:
    """The version of a number or an alias.

    Raises:
        UserError: there is none.
    """
    _ensure()
    return registry.resolve(f"models:/{registry.MODEL}{'/' if named.isdigit() else '@'}{named}")


def versions_table() -> Table:
    """A row for each version."""
    aliases: dict[int, list[str]] = {}
    for alias, number in registry.model().aliases.items():
        aliases.setdefault(number, []).append(alias)
    metrics = list(load_config(ROOT / "params.yaml").register_.rules)
    columns = ("version", "aliases", *metrics, "data", "commit", "recipe", "age", "verdict")
    caption = "In brackets: change against the champion of then, both scored on the same photographs at the same size."
    table = Table(*columns, caption=caption, caption_justify="left")
    for version in reversed(registry.find_all({})):
        tags = version.tags
        champion = "champion" in aliases.get(version.number, [])
        table.add_row(
            str(version.number),
            ", ".join(sorted(aliases.get(version.number, []))),
            *(_figure(tags, metric) for metric in metrics),
            tags.get("data_version", "")[:8],
            _commit(version)[:8],
            escape(tags.get("recipe", "")),
            _age(time.time() - version.created / 1000),
            tags.get("gate", ""),
            style="bold" if champion else "",
        )
    return table


def facts(version: registry.Version) -> dict[str, str]:
    """What is known of a version, by the name of the fact."""
    tags, run = version.tags, version.run_id
    found = {
        "aliases": ", ".join(registry.aliases(version.number)) or "none",
        "registered": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(version.created / 1000)),
        "weights": f"SHA-256 {version.weights_sha256}",
        "verdict": f"{tags.get('gate', 'none')}: {tags.get('gate.summary', '')}".rstrip(": "),
        **{
            f"  {name.removeprefix('gate.')}": tags[name]
            for name in sorted(tags)
            if name.startswith("gate.") and name != "gate.summary"
        },
        "promoted": _moved(tags, "promoted", "promotion_reason"),
        "rejected": _moved(tags, "rejected", "rejection_reason"),
        "code": f"commit {_commit(version)}, recipe {tags.get('recipe', 'unknown')}",
        "image": tags.get("image_digest", ""),
        "data": tags.get("data_version", ""),
        "pipeline run": tags.get("pipeline_run_id", ""),
        "MLflow run": run or "",
        "report": f"{version.evaluation}/report.html at {connection.redacted(connection.uri())}",
        "parameters": _parameters(tags.get("trained_in") or run),
    }
    return {name: text for name, text in found.items() if text}


def _ensure() -> None:
    from pipeline.data.champion import ensure_champion

    ensure_champion()


def _moved(tags: Any, how: str, reason: str) -> str:
    if f"{how}_at" not in tags:
        return ""
    return f"{tags[f'{how}_at'][:19].replace('T', ' ')} UTC by {tags.get(f'{how}_by', '')}: {tags.get(reason, '')}"


@connection.explained()
def _parameters(run: str | None) -> str:
    """Of the run that trained it; empty for a version that came from elsewhere."""
    from mlflow.exceptions import MlflowException

    if not run:
        return ""
    try:
        params = connection.connect().get_run(run).data.params
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return f"run {run} was deleted"
    return "\n".join(f"{name}={value}" for name, value in sorted(params.items()))


def _dataset(model: Path) -> Path:
    """data/ as the model's size asks for; made once for each version of the photographs."""
    from components.preprocess.step import preprocess
    from pipeline.data.versions import ensure_data

    size = json.loads((model / "generator.json").read_bytes())["size"]
    data = ensure_data(ROOT)
    config = load_config(ROOT / "params.yaml").preprocess.model_copy(update={"size": size})
    folder = workspace() / "compare" / f"dataset-{data.version[:12]}-{size}"
    if not (folder / "dataset.json").is_file():
        preprocess(ROOT / "data", folder, config, data_version=data.version)
    return folder


def _comparison(result: dict[str, Any], names: dict[str, str]) -> Table:
    protocol, gaps = result["protocol"], result["difference"]
    table = Table(title=f"On {protocol['images']} test photographs of {protocol['size']} pixels", title_justify="left")
    confidence = 100 * next(iter(gaps.values()))["confidence"] if gaps else 0
    for heading in (
        "metric",
        names["challenger"],
        names["champion"],
        "difference",
        f"{confidence:g} % interval",
        "better",
    ):
        table.add_column(heading, justify="left" if heading in ("metric", "better") else "right")
    for metric, described in protocol["metrics"].items():
        gap, better = gaps.get(metric), ""
        ours, theirs = (
            f"{value:.4g}" if value is not None else "" for value in (result[metric], result["champion"].get(metric))
        )
        if gap and described["better"] and (gap["low"] > 0 or gap["high"] < 0):
            better = names["challenger" if (gap["low"] > 0) == (described["better"] == "up") else "champion"]
        cells = (f"{gap['value']:+.2g}", f"{gap['low']:+.2g} to {gap['high']:+.2g}") if gap else ("", "")
        table.add_row(metric, ours, theirs, *cells, better)
    return table


def _figure(tags: Any, metric: str) -> str:
    """A metric with the change against the champion that the version was judged by."""
    own, champion = (_read(tags.get(name)).get(metric) for name in ("metrics", "metrics_champion"))
    if own is None:
        return ""
    return f"{own:.4g}" if champion is None else f"{own:.4g} ({own - champion:+.2g})"


def _read(tag: str | None) -> dict[str, Any]:
    """A tag that holds JSON, or the digest of what was too long."""
    return json.loads(tag) if tag and tag.startswith("{") else {}


def _commit(version: registry.Version) -> str:
    return version.tags.get("git_commit", "unknown")


def _age(seconds: float) -> str:
    for name, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {name}"
    return "now"


def _console() -> Console:
    return Console(width=None if Console().is_terminal else 140)
