"""The report of an evaluation: one HTML page that needs no other file, no script and no network."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluate import skin
from components.evaluate.pictures import Shown
from components.evaluate.slices import LEAST
from components.shared.charts import Panel, histograms_chart, strengths_chart
from components.shared.page import render, uri
from model.metrics.table import METRICS

_COLUMNS = ("challenger", "champion", "mean_by_lightness", "gray")
_PANELS = 6  # slices in the picture of the strength curves
_BRIEF = ("l1_ab", "colorfulness", "colorfulness_real", "colorfulness_error", "ab_intersection", "kid_efflite0")


def write_report(
    path: Path,
    result: Mapping[str, Any],
    shown: Sequence[Shown],
    histograms: Mapping[str, NDArray[np.int64]],
    curves: Path | None,
    strengths: bytes,
    names: Mapping[str, str],
) -> None:
    """Writes the page.

    Args:
        path: of the page.
        result: content of metrics.json.
        shown: photographs, in the order in which they appear.
        histograms: name -> (2, BINS) pixels by a and by b; the photographs' own first.
        curves: the training curves as a PNG, or None.
        strengths: what `draw_strengths` returned.
        names: names of challenger and champion on the page.
    """
    groups: dict[str, list[Shown]] = {}
    for photograph in shown:
        groups.setdefault(photograph.group, []).append(photograph)
    page = render(
        Path(__file__).with_name("report.html.jinja"),
        rows=_rows(result),
        slices=[
            {"name": name, "rows": _rows(part), "by": part["by"], "photographs": part["photographs"]}
            for name, part in result["slices"].items()
        ],
        brief=[name for name in _BRIEF if name in result],
        least=LEAST,
        columns=[column for column in _COLUMNS if column == "challenger" or column in result],
        names=names,
        difference=result.get("difference"),
        metrics=METRICS,
        absent=result["absent"],
        protocol=result["protocol"],
        protocol_json=json.dumps(result["protocol"], indent=2),
        groups=groups,
        varied=[photograph for photograph in groups.get("median", ()) if len(photograph.colored["challenger"]) > 1],
        histograms=histograms_chart({name.replace("_", " "): counts for name, counts in histograms.items()}),
        curves=uri("image/png", curves.read_bytes()) if curves else "",
        strengths=uri("image/svg+xml", strengths) if strengths else "",
        equal=_equal("all", result) + [row for name, part in result["slices"].items() for row in _equal(name, part)],
        skin=result["skin"],
        skin_rows=_skin_rows(result["skin"]),
        least_faces=skin.LEAST,
        curve={who: points for who, points in result["curve"].items() if points},
    )
    path.write_text(page, encoding="utf-8")


def draw_strengths(result: Mapping[str, Any], names: Mapping[str, str]) -> bytes:
    """Draws the strength curves over all photographs and of the largest slices as an SVG; empty where there is none.

    Args:
        result: content of metrics.json.
        names: names of challenger and champion in the picture.
    """
    panels = [_panel("all photographs", metric, result, names) for metric in ("l1_ab", "kid_efflite0")]
    slices = sorted(result["slices"].items(), key=lambda item: -int(item[1]["photographs"]))[:_PANELS]
    panels += [_panel(f"{name} ({each['photographs']})", "l1_ab", each, names) for name, each in slices]
    drawn = [panel for panel in panels if panel.points]
    return strengths_chart(drawn) if drawn else b""


def _panel(title: str, metric: str, result: Mapping[str, Any], names: Mapping[str, str]) -> Panel:
    points = {names.get(who, who): each for who, each in result["curve"].items() if each and metric in each[0]}
    title = title.replace("$", r"\$")  # matplotlib would set a formula
    return Panel(f"{title}: {metric}", metric, points, result["gray"].get(metric))


def _rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns a row for each metric that was measured: the figures as text by column, and the best columns.

    Args:
        result: the figures over all photographs or of a slice, as `result.summary` returns them.
    """
    figures = {column: result if column == "challenger" else result.get(column, {}) for column in _COLUMNS}
    rows = []
    for name, metric in METRICS.items():
        values = {column: figures[column][name] for column in _COLUMNS if name in figures[column]}
        if not values:
            continue
        numbers = [value for value in values.values() if value is not None]
        best = {"up": max, "down": min}[metric.better](numbers, default=None) if metric.better else None
        texts = {column: "not a number" if value is None else _number(value) for column, value in values.items()}
        if ends := result["interval"].get(name):
            texts["challenger"] += f" ({_number(ends['low'])} to {_number(ends['high'])})"
        winners = [column for column, value in values.items() if best is not None and value == best]
        gaps = {
            "difference": result.get("difference", {}).get(name),
            "from_gray": result["baseline_difference"]["gray"].get(name),
        }
        rows.append({"name": name, "metric": metric, "texts": texts, "winners": winners} | _texts(gaps))
    return rows


def _equal(photographs: str, result: Mapping[str, Any]) -> list[dict[str, str]]:
    """Returns a row for each share of colorfulness and each metric that both models have there."""
    rows = []
    for share, found in result["equal_colorfulness"].items():
        for metric, gap in found["difference"].items():
            row = {"photographs": photographs, "share": share, "metric": metric, **_texts({"difference": gap})}
            rows.append(row | {who: _number(found[who][metric]) for who in ("challenger", "champion")})
    return rows


def _skin_rows(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns a row for each bin and candidate, with the figures as text; a dash for one that there is none of."""
    rows = []
    for row in skin.rows(figures, _COLUMNS):
        kinds = {"chroma_error": _number, "chroma_difference": _signed, "hue_error": _number}
        values = {name: (row.get(name), write) for name, write in kinds.items()}
        rows.append(row | {name: "–" if value is None else write(value) for name, (value, write) in values.items()})
    return rows


def _texts(gaps: Mapping[str, Mapping[str, float] | None]) -> dict[str, str]:
    return {
        name: f"{_signed(gap['value'])} ({_signed(gap['low'])} to {_signed(gap['high'])})" if gap else ""
        for name, gap in gaps.items()
    }


def _number(value: float) -> str:
    """Formats a figure with four significant digits, without an exponent."""
    digits = 3 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{min(max(digits, 0), 7)}f}"


def _signed(value: float) -> str:
    return f"{value:+.2g}"
