"""The choose step: passes on the best of several variants by one metric, and compares them on a page."""

import html
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.choose.config import ChooseConfig
from components.shared.mlflow import registry, runs
from model.metrics.table import directed
from model.utils.errors import Damaged, UserError
from model.utils.files import folder_aside, write_aside


def choose(
    variants: Mapping[str, tuple[Path, Path]], model: Path, evaluation: Path, page: Path, config: ChooseConfig
) -> int:
    """Copies the model and the evaluation of the best variant; a single variant is copied whatever its figures are.

    Args:
        variants: name -> output folders of train and evaluate. All are scored on the same photographs.
        model: gets the best variant's model.
        evaluation: gets the best variant's evaluation, with the page as comparison.html where there are several.
        page: gets the comparison as an HTML page, or a line that there is one variant alone. MLflow gets a comparison,
            too, with all metrics, in a run of its own.
        config: section `choose`.

    Returns:
        The position of the best variant; of equal ones the first.

    Raises:
        UserError: no variant has the metric; a file is missing or damaged; MLflow cannot be used.
        Damaged: the model of the best variant is not as it was written.
    """
    names = list(variants)
    position, compared = _compare(variants, config.by) if len(names) > 1 else (0, None)
    chosen = variants[names[position]]
    if registry.checksum(chosen[0]) is None:
        raise Damaged(
            f"{chosen[0]}: generator.safetensors is missing or damaged (generator.json has its SHA-256); train again.",
            chosen[0],
        )
    for source, output, marker in ((chosen[0], model, "generator.json"), (chosen[1], evaluation, "metrics.json")):
        with folder_aside(output, marker) as aside:
            shutil.copytree(source, aside, dirs_exist_ok=True)
            if compared and output == evaluation:
                (aside / "comparison.html").write_text(compared, encoding="utf-8")
    page.parent.mkdir(parents=True, exist_ok=True)
    write_aside(page, (compared or f"<p>{html.escape(names[0])} is the only variant.</p>\n").encode())
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


def _compare(variants: Mapping[str, tuple[Path, Path]], by: str) -> tuple[int, str]:
    """Returns the position of the best variant and the page, and logs both to MLflow."""
    from components.choose import comparison  # draws; a single variant needs no matplotlib

    read = {name: comparison.Variant.read(*folders) for name, folders in variants.items()}
    metrics = {name: variant.metrics for name, variant in read.items()}
    names, figures = list(metrics), [each.get(by) for each in metrics.values()]
    position = best(figures, by)
    left_out = [name for name, figure in zip(names, figures, strict=True) if not _is_figure(figure)]
    page = comparison.page(read, names[position], by, left_out)
    with runs.start_run("choose") as run:
        run.log_text(page, "comparison/index.html")
        run.log_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", "comparison/results.json")
        run.set_tags({"best": names[position], "by": by})
    for name in left_out:
        print(f"{name} has no {by} and is left out.", flush=True)
    print(f"{names[position]} is the best of {len(names)} by {by}: {figures[position]:.4g}", flush=True)
    return position, page


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
