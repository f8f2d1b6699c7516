"""The report: one HTML page that needs no other file, no script and no network."""

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from components.evaluate.pictures import Shown
from components.evaluate.protocol import METRICS

_COLUMNS = ("challenger", "champion", "mean_by_lightness", "gray")


def write_report(
    path: Path,
    result: Mapping[str, Any],
    shown: Sequence[Shown],
    histograms: str,
    curves: Path | None,
    names: Mapping[str, str],
) -> None:
    """Writes the page.

    Args:
        path: of the page.
        result: what metrics.json holds.
        shown: photographs, in the order in which they appear.
        histograms: an SVG.
        curves: the training curves as a PNG, or None.
        names: what the page calls challenger and champion.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["picture"] = _picture
    groups: dict[str, list[Shown]] = {}
    for photograph in shown:
        groups.setdefault(photograph.group, []).append(photograph)
    page = environment.get_template("report.html.jinja").render(
        rows=_rows(result),
        columns=[column for column in _COLUMNS if column == "challenger" or column in result],
        names=names,
        difference=result.get("difference"),
        metrics=METRICS,
        absent=result["absent"],
        protocol=result["protocol"],
        protocol_json=json.dumps(result["protocol"], indent=2),
        groups=groups,
        varied=[photograph for photograph in groups["median"] if len(photograph.colored["challenger"]) > 1],
        histograms=_uri("image/svg+xml", histograms.encode()),
        curves=_uri("image/png", curves.read_bytes()) if curves else "",
    )
    path.write_text(page, encoding="utf-8")


def _rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each metric that anybody has: the figures as text by column, and which of them are the best."""
    figures = {column: result if column == "challenger" else result.get(column, {}) for column in _COLUMNS}
    rows = []
    for name, metric in METRICS.items():
        values = {column: figures[column][name] for column in _COLUMNS if name in figures[column]}
        if not values:
            continue
        numbers = [value for value in values.values() if value is not None]
        best = {"up": max, "down": min}[metric.better](numbers, default=None) if metric.better else None
        texts = {column: "not a number" if value is None else _number(value) for column, value in values.items()}
        winners = [column for column, value in values.items() if best is not None and value == best]
        gap = result.get("difference", {}).get(name)
        difference = f"{_signed(gap['value'])} ({_signed(gap['low'])} to {_signed(gap['high'])})" if gap else ""
        rows.append({"name": name, "metric": metric, "texts": texts, "winners": winners, "difference": difference})
    return rows


def _number(value: float) -> str:
    """Four significant digits, without an exponent."""
    digits = 3 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{min(max(digits, 0), 7)}f}"


def _signed(value: float) -> str:
    return f"{value:+.2g}"


def _picture(pixels: NDArray[np.uint8]) -> str:
    """(H, W, 3) uint8 as a data URI."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=92, subsampling=0)  # full-size chroma: it is what one looks at
    return _uri("image/jpeg", file.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
