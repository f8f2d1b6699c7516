"""The comparison of a sweep's variants: one HTML page that needs no other file, and a table in Markdown."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from model.metrics.table import METRICS

SHOWN = (
    "l1_ab", "l1_ab_best", "psnr", "colorfulness", "delta_colorfulness", "ab_intersection", "kid_efflite0", "diversity",
)  # fmt: skip
_BASELINES = ("gray", "mean_by_lightness")
_PICTURES = {
    "Photographs": "pictures.png",
    "Training, the first variant's curves behind the others' in gray": "curves.png",
    "Colors": "histograms.png",
}


def table(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: a row for each variant, then the baselines."""
    lines = [f"| variant | {' | '.join(SHOWN)} |", f"| --- |{' ---: |' * len(SHOWN)}"]
    lines += [f"| {name} | {' | '.join(figures)} |" for name, figures in _rows(metrics, SHOWN).items()]
    return "\n".join(lines) + "\n"


def write_report(
    folder: Path, metrics: Mapping[str, Mapping[str, Any]], best: str, by: str, left_out: Sequence[str]
) -> None:
    """Writes index.html beside the pictures, which it holds.

    Args:
        folder: with curves.png, histograms.png and pictures.png.
        metrics: variant -> what its metrics.json holds.
        best: the variant that goes on.
        by: the metric that decided.
        left_out: variants without that metric.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    columns = tuple(dict.fromkeys((by, *SHOWN)))
    page = environment.get_template("report.html.jinja").render(
        columns={name: METRICS[name].better for name in columns},
        rows=_rows(metrics, columns),
        best=best,
        by=by,
        left_out=left_out,
        photographs=metrics[best]["protocol"]["images"],
        pictures={title: base64.b64encode((folder / name).read_bytes()).decode() for title, name in _PICTURES.items()},
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


def _rows(metrics: Mapping[str, Mapping[str, Any]], columns: Sequence[str]) -> dict[str, list[str]]:
    first = next(iter(metrics.values()))
    rows = {**metrics, **{name: first[name] for name in _BASELINES}}
    return {
        name: ["" if (figure := row.get(column)) is None else f"{figure:.4g}" for column in columns]
        for name, row in rows.items()
    }
