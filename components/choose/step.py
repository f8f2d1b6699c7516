"""The choose step: passes on the best of several variants by one metric, and compares them on a page."""

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.choose.config import ChooseConfig
from components.shared.mlflow import registry, runs
from model.metrics.table import directed
from model.utils.errors import Damaged, UserError
from model.utils.files import folder_aside


def choose(
    variants: Mapping[str, tuple[Path, Path]], model: Path, evaluation: Path, page: Path, config: ChooseConfig
) -> int:
    """Copies the model and the evaluation of the best variant; a single variant is copied whatever its figures are.

    Args:
        variants: name -> output folders of train and evaluate. All are scored on the same photographs.
        model: gets the best variant's model.
        evaluation: gets the best variant's evaluation.
        page: gets the comparison as an HTML page if there are several variants. MLflow gets the page and all metrics,
            in a run of its own.
        config: section `choose`.

    Returns:
        The position of the best variant; of equal ones the first.

    Raises:
        UserError: no variant has the metric; a file is missing or damaged; MLflow cannot be used.
        Damaged: the model of the best variant is not as it was written.
    """
    position = _compare(variants, page, config.by) if len(variants) > 1 else 0
    chosen = list(variants.values())[position]
    if registry.checksum(chosen[0]) is None:
        raise Damaged(
            f"{chosen[0]}: generator.safetensors is missing or damaged (generator.json has its SHA-256); train again.",
            chosen[0],
        )
    outputs = (model, "generator.json"), (evaluation, "metrics.json")
    for source, (output, marker) in zip(chosen, outputs, strict=True):
        with folder_aside(output, marker) as aside:
            shutil.copytree(source, aside, copy_function=_link, dirs_exist_ok=True)
    return position


def best(figures: Sequence[Any], by: str) -> int:
    """Returns the position of the best figure of a metric; of equal ones the first. Skips what is no finite number.

    Raises:
        UserError: no figure is a number.
    """
    sign = {"up": 1, "down": -1}[directed()[by]]
    positions = [position for position, figure in enumerate(figures) if _is_figure(figure)]
    if not positions:
        raise UserError(f"choose.by: no variant has a {by}; name another metric, or see why in the variants' reports.")
    return max(positions, key=lambda position: sign * figures[position])


def _link(source: str, target: str) -> None:
    """Links a file, or copies it to another disk. No step ever writes into an output that exists."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _compare(variants: Mapping[str, tuple[Path, Path]], page: Path, by: str) -> int:
    from components.choose import comparison  # draws; a single variant needs no matplotlib

    read = {name: comparison.Variant.read(*folders) for name, folders in variants.items()}
    metrics = {name: variant.metrics for name, variant in read.items()}
    names, figures = list(metrics), [each.get(by) for each in metrics.values()]
    position = best(figures, by)
    left_out = [name for name, figure in zip(names, figures, strict=True) if not _is_figure(figure)]
    html = comparison.page(read, names[position], by, left_out)
    with runs.start_run("choose") as run:
        run.log_text(html, "comparison/index.html")
        run.log_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", "comparison/results.json")
        run.set_tags({"best": names[position], "by": by})
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(html, encoding="utf-8")
    for name in left_out:
        print(f"{name} has no {by} and is left out.", flush=True)
    print(f"{names[position]} is the best of {len(names)} by {by}: {figures[position]:.4g}", flush=True)
    return position


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
