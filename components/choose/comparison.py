"""The comparison of variants: what their trainings and evaluations left, on one HTML page."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.charts import curves_chart, histograms_chart
from components.shared.page import render
from model.metrics.table import METRICS
from model.utils.errors import UserError

SHOWN = (
    "l1_ab", "l1_ab_best", "psnr", "colorfulness", "delta_colorfulness", "colorfulness_error", "ab_intersection",
    "kid_efflite0", "diversity",
)  # fmt: skip
_BASELINES = ("gray", "mean_by_lightness")
_CURVES = ("reconstruction", "val_l1_ab", "val_delta_colorfulness", "d_accuracy")  # columns of history.jsonl

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Variant:
    """Holds what the page shows of one variant."""

    metrics: Mapping[str, Any]
    """Content of metrics.json."""
    history: Sequence[Mapping[str, Any]]
    """Rows of history.jsonl."""
    histograms: Arrays
    """`photographs` and `challenger`: (2, BINS) pixels by a and by b."""
    samples: Arrays
    """`gray`, `challenger` and `true`: (H, W, 3) uint8 sRGB, the same photographs side by side."""

    @classmethod
    def read(cls, model: Path, evaluation: Path) -> "Variant":
        """Reads the output folders of train and evaluate.

        Raises:
            UserError: a file is missing or damaged; names the folders.
        """
        try:
            metrics = json.loads((evaluation / "metrics.json").read_text(encoding="utf-8"))
            rows = (model / "history.jsonl").read_text(encoding="utf-8").splitlines()
            histograms, samples = (
                dict(np.load(evaluation / name, allow_pickle=False)) for name in ("histograms.npz", "contact_sheet.npz")
            )
            return cls(metrics, [json.loads(row) for row in rows], histograms, samples)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise UserError(f"{model}, {evaluation}: {error}; train and evaluate this variant again.") from None


def page(variants: Mapping[str, Variant], best: str, by: str, left_out: Sequence[str]) -> str:
    """Renders the comparison as one HTML page that needs no other file.

    Args:
        variants: at least one.
        best: name of the variant that is passed on.
        by: the metric that decides.
        left_out: names of the variants without that metric.
    """
    first = next(iter(variants.values()))
    columns = tuple(dict.fromkeys((by, *SHOWN)))
    return render(
        Path(__file__).with_name("comparison.html.jinja"),
        columns={name: METRICS[name].better for name in columns},
        rows=_rows({name: variant.metrics for name, variant in variants.items()}, columns),
        best=best,
        by=by,
        left_out=left_out,
        photographs=first.metrics["protocol"]["images"],
        split=first.metrics["protocol"].get("split", "test"),
        samples={
            "gray": first.samples["gray"],
            **{name: variant.samples["challenger"] for name, variant in variants.items()},
            "true": first.samples["true"],
        },
        curves=curves_chart({name: variant.history for name, variant in variants.items()}, _CURVES),
        histograms=histograms_chart(
            {
                "photographs": first.histograms["photographs"],
                **{name: variant.histograms["challenger"] for name, variant in variants.items()},
            }
        ),
    )


def _rows(metrics: Mapping[str, Mapping[str, Any]], columns: Sequence[str]) -> dict[str, list[str]]:
    """Returns the figures as text: a row for each variant, then one for each baseline."""
    first = next(iter(metrics.values()))
    rows = {**metrics, **{name: first[name] for name in _BASELINES}}
    return {
        name: ["" if (figure := row.get(column)) is None else f"{figure:.4g}" for column in columns]
        for name, row in rows.items()
    }
