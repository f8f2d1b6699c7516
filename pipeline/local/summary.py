"""Summary of a run for people: the verdict in a sentence, why, and where report and pictures are."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from components.shared.machine.verbosity import is_quiet, is_verbose
from model.utils.files import write_aside
from pipeline.cli.output import print_table
from pipeline.local.run import RunResult

_SHOWN = (
    "l1_ab", "l1_ab_best", "psnr", "ssim", "colorfulness", "delta_colorfulness", "colorfulness_error",
    "colorfulness_correlation", "ab_intersection", "kid_efflite0",
    "fd_efflite0", "fid", "kid", "lpips", "diversity", "diversity_lpips",
)  # fmt: skip
_OTHERS = {"champion": "champion", "gray": "gray", "mean_by_lightness": "mean color by lightness"}
_LATEST = {
    "report": ("evaluation", "report.html"),
    "pictures": ("evaluation", "samples.png"),
    "variants": ("evaluation", "comparison.html"),
    "photographs": ("inspection", "data.html"),
}
"""Files that a run leaves for people: the step that made it, and its file; variants, where there are several."""


def show(result: RunResult, latest: Path, as_json: bool) -> None:
    """Prints how a run ended and copies report and pictures to `latest`; a failed step's own message comes last.

    Args:
        result: of the run.
        latest: folder.
        as_json: prints what the exit task told, with steps and files, as one line of JSON instead.
    """
    if is_verbose():
        print_table(_steps(result), sys.stderr)
    files = {} if result.trouble else _copied(result, latest)
    if as_json:
        print(json.dumps(_told(result) | {"files": {name: str(path) for name, path in files.items()}}), flush=True)
    if result.trouble is not None:
        print(f"The log is {_short(result.log)}.", file=sys.stderr)
        print(f"{result.trouble.step} {result.trouble.outcome}: {result.trouble.message}", file=sys.stderr)
    elif not as_json:
        for line in _lines(result, files):
            print(line, flush=True)


def _lines(result: RunResult, files: dict[str, Path]) -> Iterator[str]:
    record = _read(result.folders["registration"] / "registration.json")
    yield _verdict(record)
    if is_quiet():
        return
    for reason in record["reasons"]:
        if not reason["holds"]:
            yield f"  {reason['metric']} fails: {reason['text']}"
    if record["data_drift"]:
        yield record["data_drift"]
    if is_verbose():
        print_table(_metrics(_read(result.folders["evaluation"] / "metrics.json")))
    shown = files | {"log": result.log}
    for name, path in shown.items():
        yield f"{name + ':':<13}{_short(path)}"


def _verdict(record: dict[str, Any]) -> str:
    """Returns the gate's verdict in a sentence."""
    number, summary = record["version"], record["summary"]
    if record["outcome"] == "promote":
        return f"Version {number} is the champion now. {summary}"
    if record["outcome"] == "propose":
        how = "`colorize promote --proposed` promotes it, `colorize reject` does not"
        return f"Version {number} is proposed: {how}. {summary}"
    if record["outcome"] == "unchanged":
        return f"Version {number} stays the champion. {summary}"
    stays = f"version {record['champion']} stays the champion" if record["champion"] else "there is no champion yet"
    return f"Version {number} is not promoted, and {stays}. {summary}"


def _told(result: RunResult) -> dict[str, Any]:
    """Returns what the exit task told, or what is known where it told nothing; with the steps and the log."""
    trouble = result.trouble
    known = {
        "outcome": trouble.outcome if trouble else "unknown",
        "failed_step": trouble.step if trouble else None,
        "message": trouble.message if trouble else "",
    }
    steps = [{"step": step.step, "outcome": step.outcome, "seconds": step.seconds} for step in result.steps]
    return (result.told or known) | {"steps": steps, "seconds": round(result.seconds, 1), "log": str(result.log)}


def _copied(result: RunResult, latest: Path) -> dict[str, Path]:
    """Copies what a run leaves for people; returns the copies."""
    latest.mkdir(parents=True, exist_ok=True)
    copies = {}
    for name, (step, file) in _LATEST.items():
        if (made := result.folders[step] / file).is_file():
            copies[name] = latest / file
            write_aside(copies[name], made.read_bytes())
    return copies


def _steps(result: RunResult) -> Table:
    table = Table(title=f"Steps ({result.seconds:.0f} s in all)", title_justify="left")
    table.add_column("step")
    table.add_column("outcome")
    table.add_column("seconds", justify="right")
    for step in result.steps:
        style = {"failed": "red", "interrupted": "yellow", "reused": "cyan"}.get(step.outcome, "")
        table.add_row(step.step, step.outcome, "" if step.seconds is None else f"{step.seconds:.1f}", style=style)
    return table


def _metrics(metrics: dict[str, Any]) -> Table:
    table = Table(title="On photographs it never saw", title_justify="left")
    table.add_column("metric")
    table.add_column("challenger", justify="right", style="bold")
    others = [name for name in _OTHERS if metrics.get(name)]
    for name in others:
        table.add_column(_OTHERS[name], justify="right")
    for name in _SHOWN:
        if name in metrics:
            table.add_row(name, *(_number(column.get(name)) for column in (metrics, *(metrics[o] for o in others))))
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _short(path: Path) -> str:
    with_home = path.resolve()
    return str(with_home.relative_to(Path.cwd())) if with_home.is_relative_to(Path.cwd()) else str(with_home)
