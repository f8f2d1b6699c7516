"""Tables of the registry's versions, for `colorize models`."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.markup import escape
from rich.table import Table

from components.register.config import parse
from components.shared.mlflow import connection, registry
from components.shared.mlflow.promotion import Entry
from pipeline import ROOT
from pipeline.config import load_config

_SLICED = ("l1_ab", "colorfulness", "colorfulness_real", "colorfulness_error", "kid_efflite0")
_CAPTION = "In brackets: change against the champion at evaluation time, both scored on the same photographs."


def version_rows() -> list[dict[str, Any]]:
    """Returns what the list of versions shows of each, newest first.

    Keys: version, aliases, metrics and champion_metrics (of the gate's rules; null where unknown), data_version,
    git_commit, recipe, created (ISO 8601, UTC), verdict.
    """
    aliases: dict[int, list[str]] = {}
    for alias, number in registry.model().aliases.items():
        aliases.setdefault(number, []).append(alias)
    rules = list(dict.fromkeys(parse(name)[0] for name in load_config(ROOT / "params.yaml").register_.rules))
    rows = []
    for version in reversed(registry.find_all({})):
        tags = version.tags
        own, champion = (_read(tags.get(name)) for name in ("metrics", "metrics_champion"))
        rows.append(
            {
                "version": version.number,
                "aliases": sorted(aliases.get(version.number, [])),
                "metrics": {metric: own.get(metric) for metric in rules},
                "champion_metrics": {metric: champion.get(metric) for metric in rules},
                "data_version": tags.get("data_version", ""),
                "git_commit": _commit(version),
                "recipe": tags.get("recipe", ""),
                "created": _created(version).isoformat(timespec="seconds"),
                "verdict": tags.get("gate", ""),
            }
        )
    return rows


def versions_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Builds the list of versions from `version_rows`."""
    metrics = list(rows[0]["metrics"]) if rows else []
    columns = ("version", "aliases", *metrics, "data", "commit", "recipe", "age", "verdict")
    table = Table(*columns, caption=_CAPTION, caption_justify="left")
    for row in rows:
        table.add_row(
            str(row["version"]),
            ", ".join(row["aliases"]),
            *(_figure(row["metrics"][metric], row["champion_metrics"][metric]) for metric in metrics),
            row["data_version"][:8],
            row["git_commit"][:8],
            escape(row["recipe"]),
            _age(datetime.now(UTC) - datetime.fromisoformat(row["created"])),
            row["verdict"],
            style="bold" if "champion" in row["aliases"] else "",
        )
    return table


def facts(version: registry.Version) -> dict[str, Any]:
    """Returns what is known of a version, by the name of the fact; facts that are unknown are left out."""
    tags, run = version.tags, version.run_id
    found = {
        "version": version.number,
        "aliases": registry.aliases(version.number),
        "registered": f"{_created(version):%Y-%m-%d %H:%M UTC}",
        "weights": f"{registry.address(version.number)}/{registry.GENERATOR}",
        "weights_sha256": version.weights_sha256,
        "verdict": f"{tags.get('gate', 'none')}: {tags.get('gate.summary', '')}".rstrip(": "),
        "rules": {
            name.removeprefix("gate."): tags[name]
            for name in sorted(tags)
            if name.startswith("gate.") and name != "gate.summary"
        },
        "promoted": _moved(tags, "promoted", "promotion_reason"),
        "proposed": _moved(tags, "proposed", "proposal_reason"),
        "rejected": _moved(tags, "rejected", "rejection_reason"),
        "git_commit": _commit(version),
        "recipe": tags.get("recipe", "unknown"),
        "image": tags.get("image_digest", ""),
        "data_version": tags.get("data_version", ""),
        "pipeline_run": tags.get("pipeline_run_id", ""),
        "mlflow_run": run or "",
        "report": f"{version.evaluation}/report.html at {connection.shown_uri()}",
        "parameters": _parameters(tags.get("trained_in") or run),
    }
    return {name: fact for name, fact in found.items() if fact or name == "aliases"}


def facts_table(facts: dict[str, Any]) -> Table:
    """Builds the table of one version from `facts`."""
    title = f"Version {facts['version']} of {registry.MODEL}"
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        if name == "version":
            continue
        if name == "rules":
            for rule, text in fact.items():
                table.add_row(f"  {rule}", escape(text))
        else:
            table.add_row(name.replace("_", " "), escape(_text(fact)))
    return table


def slices_table(slices: dict[str, dict[str, Any]]) -> Table:
    """Builds the table of a version's figures by folder and label, with the interval of each.

    Args:
        slices: as metrics.json has them.
    """
    some = next(iter(slices.values()))
    metrics = [name for name in _SLICED if some.get(name) is not None]
    table = Table(title="By folder and label; --json has every metric", title_justify="left")
    for heading in ("slice", "photographs", *metrics, "l1_ab of gray"):
        table.add_column(heading, overflow="fold")
    for name, figures in slices.items():
        cells = []
        for metric in metrics:
            ends, value = figures["interval"].get(metric), figures[metric]
            cells.append("" if value is None else f"{value:.3g}")
            if ends:
                cells[-1] += f" ({ends['low']:.3g} to {ends['high']:.3g})"
        gray = figures["gray"].get("l1_ab")
        table.add_row(escape(name), str(figures["photographs"]), *cells, "" if gray is None else f"{gray:.3g}")
    return table


def history_table(entries: Sequence[Entry]) -> Table:
    """Builds the table of the changes of the champion."""
    table = Table("when (UTC)", "what", "version", "before", "who", "why")
    for entry in entries:
        before = "" if entry.origin is None else str(entry.origin)
        when = entry.at.replace("T", " ").partition(".")[0]
        table.add_row(when, entry.action, str(entry.version), before, escape(entry.by), escape(entry.reason))
    return table


def comparison_table(result: dict[str, Any], names: dict[str, str]) -> Table:
    """Builds the table of two versions' metrics.

    Args:
        result: what the evaluate step returns.
        names: what to call the `challenger` and the `champion`.
    """
    protocol, gaps = result["protocol"], result["difference"]
    title = f"On {protocol['images']} test photographs of {protocol['size']} pixels"
    table = Table(title=title, title_justify="left")
    confidence = 100 * next(iter(gaps.values()))["confidence"] if gaps else 0
    headings = ("metric", names["challenger"], names["champion"], "difference", f"{confidence:g} % interval", "better")
    for heading in headings:
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


def _moved(tags: Any, how: str, reason: str) -> str:
    if f"{how}_at" not in tags:
        return ""
    return f"{tags[f'{how}_at'][:19].replace('T', ' ')} UTC by {tags.get(f'{how}_by', '')}: {tags.get(reason, '')}"


@connection.explained()
def _parameters(run: str | None) -> dict[str, str]:
    """Returns the parameters of the run that trained a version; none for a version that came from elsewhere."""
    from mlflow.exceptions import MlflowException

    if not run:
        return {}
    try:
        params = connection.connect().get_run(run).data.params
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {"run": f"{run} was deleted"}
    return dict(sorted(params.items()))


def _figure(own: float | None, champion: float | None) -> str:
    """Formats a metric with its change against the champion that the version was judged by."""
    if own is None:
        return ""
    return f"{own:.4g}" if champion is None else f"{own:.4g} ({own - champion:+.2g})"


def _text(fact: Any) -> str:
    if isinstance(fact, dict):
        return "\n".join(f"{name}={value}" for name, value in fact.items())
    return (", ".join(fact) or "none") if isinstance(fact, list) else str(fact)


def _read(tag: str | None) -> dict[str, Any]:
    """Reads a tag that holds JSON; a tag that was too long holds a digest instead."""
    return json.loads(tag) if tag and tag.startswith("{") else {}


def _commit(version: registry.Version) -> str:
    return version.tags.get("git_commit", "unknown")


def _created(version: registry.Version) -> datetime:
    return datetime.fromtimestamp(version.created / 1000, UTC)


def _age(age: timedelta) -> str:
    for name, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if age.total_seconds() >= length:
            return f"{age.total_seconds() // length:.0f} {name}"
    return "now"
