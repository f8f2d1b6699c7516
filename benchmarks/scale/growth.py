"""Fits of the growth of a figure with n: a power of n beside a constant for seconds, a line for memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import nnls

_POWERS = np.arange(0.3, 2.51, 0.05)
_NOISE = 0.1
"""Relative noise of seconds. A root mean square below it counts as no growth; evaluation, which does the same work for
every n, varies as much."""


class Growth(NamedTuple):
    """constant + factor * n ** power."""

    constant: float
    factor: float
    power: float

    def __call__(self, n: float) -> float:
        return float(self.constant + self.factor * n**self.power)


def curve(sizes: Sequence[int], seconds: Sequence[float]) -> Growth:
    """Fits the growth with the least sum of squared relative errors; constant and factor are not negative.

    From a thousand to a hundred thousand, n log n comes out as a power of 1.1. No growth has power 0.

    Args:
        sizes: at least three.
        seconds: positive, one for each size.
    """
    n, y = np.asarray(sizes, dtype=float), np.asarray(seconds, dtype=float)
    level = 1 / np.mean(1 / y)
    best, error = Growth(float(level), 0.0, 0.0), float(np.sum((level / y - 1) ** 2))
    if error <= _NOISE**2 * len(y):
        return best
    for power in _POWERS:
        columns = np.stack((np.ones_like(n), (n / n.max()) ** power), axis=1) / y[:, None]
        (constant, factor), residual = nnls(columns, np.ones_like(y))
        if residual**2 < 0.8 * error:  # a power that fits no better than a smaller one is not believed
            best = Growth(float(constant), float(factor / n.max() ** power), float(power))
            error = residual**2
    return best


def line(sizes: Sequence[int], megabytes: Sequence[float]) -> Growth:
    """Fits the line with the least sum of squared errors."""
    slope, constant = np.polyfit(np.asarray(sizes, dtype=float), np.asarray(megabytes, dtype=float), 1)
    return Growth(float(constant), float(slope), 1.0)


FITS = {"seconds": curve, "megabytes": line}
"""Fits by the measured figure."""


def draw(
    rows: Mapping[str, Sequence[Mapping[str, float]]], growth: Mapping[str, Mapping[str, Growth]], path: Path
) -> None:
    """Draws seconds and memory of each step over n, with the fits.

    Args:
        rows: measured n, seconds and megabytes, by step.
        growth: fits by step and figure.
        path: picture to write.
    """
    figure = Figure(figsize=(11, 5), layout="constrained")
    titles = {"seconds": "CPU seconds", "megabytes": "MB of memory, most"}
    for axes, (what, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for index, (step, measured) in enumerate(rows.items()):
            sizes, found = [int(row["n"]) for row in measured], growth[step][what]
            along, color = np.geomspace(min(sizes), max(sizes), 50), f"C{index}"
            grows = f"n^{found.power:.2f}" if what == "seconds" else f"{1000 * found.factor:.2f} KB each"
            axes.loglog(sizes, [row[what] for row in measured], "o", color=color, markersize=4)
            axes.loglog(along, [found(n) for n in along], color=color, label=f"{step}: {grows}")
        axes.set_title(title)
        axes.set_xlabel("photographs")
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=90)
