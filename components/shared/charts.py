"""Charts for HTML pages, as SVG that fits a light and a dark page."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from components.shared.page import uri

_GRAY = "#888"  # readable on both backgrounds
_COLORS = ("#2f7ed8", "#e8833a", "#4a9d5b", "#a05fb5", "#c94f4f", "#3aa6a6", "#8a7a3f", "#d35fa0")
_FLOOR = 1e-6  # a logarithmic scale has no 0


def histograms_chart(histograms: Mapping[str, NDArray[np.int64]]) -> str:
    """Draws the distributions of a and b on a logarithmic scale, as in pix2pix's figure 7.

    Args:
        histograms: name -> (2, BINS) pixels by a and by b. The first is drawn as an area: the photographs' own.

    Returns:
        A data URI.
    """
    shares = {name: counts / counts.sum(axis=1, keepdims=True) for name, counts in histograms.items()}
    levels = np.arange(next(iter(shares.values())).shape[1]) - 128
    used = levels[np.any([share > 1e-5 for share in shares.values()], axis=(0, 1))]
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for channel, axes in enumerate(figure.subplots(1, 2, sharey=True)):
        for number, (name, share) in enumerate(shares.items()):
            visible = np.maximum(share[channel], _FLOOR)
            if number == 0:
                axes.fill_between(levels, _FLOOR, visible, color="#999", alpha=0.45, linewidth=0, label=name)
            else:
                axes.plot(levels, visible, color=_COLORS[(number - 1) % len(_COLORS)], linewidth=1.3, label=name)
        axes.set_yscale("log")
        axes.set_ylim(1e-5, 1)
        axes.yaxis.set_major_formatter("{x:g}")  # powers of ten set as formulas cost a second
        axes.set_xlim(used.min() - 1, used.max() + 1)
        axes.set_xlabel("ab"[channel])
    figure.axes[0].set_ylabel("share of pixels")
    return _svg(figure)


@dataclass(frozen=True)
class Panel:
    """Holds what a panel of the strength chart draws."""

    title: str
    metric: str
    points: Mapping[str, Sequence[Mapping[str, float]]]
    """Model -> its figures at each strength, with `share` and `strength`."""
    gray: float | None
    """Gray's figure, a line."""


def strengths_chart(panels: Sequence[Panel]) -> bytes:
    """Draws figures over the share of the photographs' own colorfulness, as the strength of the colors changes.

    A ring marks the strength that a model uses.

    Args:
        panels: at least one.

    Returns:
        An SVG.
    """
    across = min(4, len(panels))
    rows = -(-len(panels) // across)
    figure = Figure(figsize=(2.75 * across, 2.6 * rows), layout="constrained")
    grid = figure.subplots(rows, across, squeeze=False).flat
    for axes, panel in zip(grid, panels, strict=False):
        for number, (model, points) in enumerate(panel.points.items()):
            color = _COLORS[number % len(_COLORS)]
            x, y = ([each[name] for each in points] for name in ("share", panel.metric))
            axes.plot(x, y, color=color, linewidth=1, marker=".", label=model)
            for place, each in enumerate(points):
                if each["strength"] == 1:
                    axes.plot(x[place], y[place], color=color, marker="o", markersize=9, fillstyle="none")
        if panel.gray is not None:
            axes.axhline(panel.gray, color=_GRAY, linestyle="--", linewidth=1, label="gray")
        axes.axvline(1, color=_GRAY, linestyle=":", linewidth=1)
        axes.set_title(panel.title, fontsize=9, color=_GRAY)
    for axes in list(grid):
        axes.set_axis_off()
    figure.supxlabel("colorfulness as a share of the photographs' own", fontsize=9, color=_GRAY)
    return _drawn(figure)


def curves_chart(histories: Mapping[str, Sequence[Mapping[str, float]]], names: Sequence[str]) -> str:
    """Draws quantities over the images seen: a panel for each quantity that was logged, a line for each history.

    Args:
        histories: name -> rows of history.jsonl.
        names: of the quantities.

    Returns:
        A data URI.
    """
    logged = {name for rows in histories.values() for row in rows for name in row}
    panels = [name for name in names if name in logged] or names[:1]  # a short training logs nothing
    figure = Figure(figsize=(2.75 * len(panels), 2.6), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for number, (name, rows) in enumerate(histories.items()):
            points = np.array([(row["images"], row[quantity]) for row in rows if quantity in row]).reshape(-1, 2)
            axes.plot(*points.T, color=_COLORS[number % len(_COLORS)], linewidth=1, label=name)
        axes.set_title(quantity, fontsize=9, color=_GRAY)
    figure.supxlabel("images seen", fontsize=9, color=_GRAY)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    return uri("image/svg+xml", _drawn(figure))


def _drawn(figure: Figure) -> bytes:
    for axes in figure.axes:
        axes.patch.set_alpha(0)
        axes.tick_params(colors=_GRAY, labelsize=8)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set_color(_GRAY)
        for spine in axes.spines.values():
            spine.set_color(_GRAY)
    figure.axes[0].legend(frameon=False, labelcolor=_GRAY, fontsize=8)
    figure.patch.set_alpha(0)
    file = io.StringIO()
    with rc_context({"svg.hashsalt": "colorize"}):  # else the ids in the file are random
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue().encode()
