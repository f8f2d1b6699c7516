"""The choose step: the best of several variants by one figure, and a report that shows them side by side."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.choose import comparison as drawing
from components.choose.report import table, write_report
from components.shared.mlflow import runs
from components.shared.s3.streaming.published import open_shards
from model.config import ChooseConfig
from model.metrics.table import directed
from model.utils.errors import UserError
from model.utils.files import folder_aside


def choose(dataset: Path, variants: Mapping[str, tuple[Path, Path]], output: Path, config: ChooseConfig) -> int:
    """Compares variants that were scored on the same photographs; the comparison is in an MLflow run of its own.

    Args:
        dataset: what preprocess wrote.
        variants: name -> what train and evaluate wrote.
        output: gets index.html, table.md, results.json, curves.png, histograms.png and pictures.png.
        config: section `choose`.

    Returns:
        Which is the best; of equal ones the first.

    Raises:
        UserError: nothing is better or worse by that figure, or no variant has it; a folder is not what it should be;
            MLflow cannot be used.
    """
    metrics = {
        name: json.loads((scores / "metrics.json").read_text(encoding="utf-8"))
        for name, (_, scores) in variants.items()
    }
    names = list(metrics)
    place = best([metrics[name].get(config.by) for name in names], config.by)
    left_out = [name for name in names if not _is_figure(metrics[name].get(config.by))]
    test = open_shards(dataset, "test")
    scored = range(metrics[names[place]]["protocol"]["images"])
    trials = [drawing.trial(name, model, test, scored) for name, (model, _) in variants.items()]
    with runs.start_run("choose") as run, folder_aside(output, marker="index.html") as aside:
        results = json.dumps(metrics, indent=2, allow_nan=False) + "\n"
        (aside / "results.json").write_text(results, encoding="utf-8")
        (aside / "table.md").write_text(table(metrics), encoding="utf-8")
        drawing.draw_curves(trials, aside / "curves.png")
        drawing.draw_histograms(trials, test, scored, aside / "histograms.png")
        drawing.draw_pictures(trials, test, scored, aside / "pictures.png")
        write_report(aside, metrics, names[place], config.by, left_out)
        for path in sorted(aside.iterdir()):
            run.log_artifact(path, "comparison")
        run.set_tags({"best": names[place], "by": config.by})
    for name in left_out:
        print(f"{name} has no {config.by} and is left out.", flush=True)
    print(
        f"{names[place]} is the best of {len(names)} by {config.by}: {metrics[names[place]][config.by]:.4g}", flush=True
    )
    return place


def best(figures: Sequence[Any], by: str) -> int:
    """The place of the best of a metric's figures; of equal ones the first. What is no finite number is left out.

    Raises:
        UserError: no figure is a number; or as `direction`.
    """
    sign = {"up": 1, "down": -1}[direction(by)]
    places = [place for place, figure in enumerate(figures) if _is_figure(figure)]
    if not places:
        raise UserError(f"choose.by: no variant has a {by}; name another metric, or see why in the variants' reports.")
    return max(places, key=lambda place: sign * figures[place])


def direction(by: str) -> str:
    """Which way a metric is better: up or down.

    Raises:
        UserError: there is no such metric, or neither way is; lists those there are.
    """
    directions = directed()
    if by not in directions:
        raise UserError(f"choose.by: {by} does not say which variant is better; write one of {', '.join(directions)}.")
    return directions[by]


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
