"""Summary of a run for people: steps, metrics, the version with its aliases, and where report and picture are."""

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from components.shared.mlflow import registry
from model.utils.files import write_aside
from pipeline.local.run import RunResult

_SHOWN = (
    "l1_ab", "l1_ab_best", "psnr", "ssim", "colorfulness", "delta_colorfulness", "colorfulness_error",
    "colorfulness_correlation", "ab_intersection", "kid_efflite0",
    "fd_efflite0", "fid", "kid", "lpips", "diversity", "diversity_lpips",
)  # fmt: skip
_OTHERS = {"champion": "champion", "gray": "gray", "mean_by_lightness": "mean color by lightness"}


def show(result: RunResult, latest: Path) -> None:
    """Prints the run's tables and copies report and picture to `latest`; a failed step's own message comes last."""
    console = Console(width=None if Console().is_terminal else 120)
    console.print(_steps(result))
    if result.trouble is not None:
        console.print(f"The log is {_short(result.log)}.")
        print(f"{result.trouble.step} {result.trouble.outcome}: {result.trouble.message}", file=sys.stderr)
        return
    metrics = json.loads((result.folders["evaluation"] / "metrics.json").read_text(encoding="utf-8"))
    console.print(_metrics(metrics))
    record = json.loads((result.folders["registration"] / "registration.json").read_text(encoding="utf-8"))
    aliases = registry.aliases(record["version"])
    if record["data_drift"]:
        console.print(record["data_drift"], style="yellow")
    console.print(f"Version {record['version']} of {registry.MODEL}: {', '.join(aliases) or 'no alias'}.")
    latest.mkdir(parents=True, exist_ok=True)
    for label, step, name in (
        ("photographs", "inspection", "data.html"),
        ("report", "evaluation", "report.html"),
        ("gray, colored, true", "evaluation", "samples.png"),
    ):
        write_aside(latest / name, (result.folders[step] / name).read_bytes())
        console.print(f"{label}: {_short(latest / name)}")
    compared = result.folders["evaluation"] / "comparison.html"
    if compared.is_file():
        write_aside(latest / compared.name, compared.read_bytes())
        console.print(f"variants: {_short(latest / compared.name)}")


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


def _short(path: Path) -> str:
    with_home = path.resolve()
    return str(with_home.relative_to(Path.cwd())) if with_home.is_relative_to(Path.cwd()) else str(with_home)
