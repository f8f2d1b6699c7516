"""The model card of a version, after Mitchell et al. 2019, "Model Cards for Model Reporting"."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from components.register.markdown import cell

_COLUMNS = {"champion": "champion at evaluation time", "gray": "gray", "mean_by_lightness": "mean color by lightness"}
_CLAIMS = {"l1_ab": -1, "psnr": 1, "ssim": 1}  # metrics by which a model should beat the mean color; their sign


def model_card(
    generator: Mapping[str, Any],
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    tags: Mapping[str, str],
    sources: str,
) -> str:
    """Renders the card as Markdown; its pictures are those of samples.png, beside it.

    Args:
        generator: content of generator.json.
        training: content of training.json; the card says "unknown" of what is missing there.
        metrics: content of metrics.json.
        tags: git_commit, data_version, recipe, weights_sha256.
        sources: a Markdown table of the training photographs with their licences.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(),  # HTML alone; this is Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["figure"] = _figure
    environment.filters["ends"] = lambda ends: f" ({_figure(ends['low'])} to {_figure(ends['high'])})" if ends else ""
    environment.filters["cell"] = cell
    return environment.get_template("card.md.jinja").render(
        info=generator,
        shape=generator["generator"],
        training=training,
        calibration=training.get("calibration"),
        metrics=metrics,
        scores={name: value for name, value in metrics.items() if isinstance(value, int | float)},
        columns={name: title for name, title in _COLUMNS.items() if metrics.get(name)},
        skin=metrics.get("skin", {}),
        worse=_worse_than_mean_color(metrics),
        tags=tags,
        sources=sources,
    )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _worse_than_mean_color(metrics: Mapping[str, Any]) -> list[str]:
    """Returns the metrics by which the model loses against the mean color of each lightness."""
    mean_color = metrics.get("mean_by_lightness", {})
    return [
        name
        for name, sign in _CLAIMS.items()
        if all(isinstance(each.get(name), float) for each in (metrics, mean_color))
        and sign * metrics[name] < sign * mean_color[name]
    ]
