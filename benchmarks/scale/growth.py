"""How a figure grows with n: the power of n that fits it best beside a constant, and the plot of all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import nnls

_POWERS = np.arange(0.3, 2.51, 0.05)
_NOISE = 0.03
"""Of a figure, relative: what differs by less, as the mean square has it, does not grow."""


class Growth(NamedTuple):
    """constant + factor * n ** power."""

    constant: float
    factor: float
    power: float

    def __call__(self, n: float) -> float:
        return self.constant + self.factor * n**self.power


def fit(sizes: Sequence[int], values: Sequence[float]) -> Growth:
    """The growth with the least sum of squared relative errors; constant and factor are not negative.

    n log n, from a thousand to a hundred thousand, comes out as a power of 1.1. What does not grow has power 0.

    Args:
        sizes: at least three.
        values: positive, one for each size.
    """
    n, y = np.asarray(sizes, dtype=float), np.asarray(values, dtype=float)
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


def draw(rows: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """Seconds and memory of each step over n, with what was fitted.

    Args:
        rows: by step: n, seconds, megabytes.
        path: of the picture.
    """
    figure = Figure(figsize=(11, 5), layout="constrained")
    for axes, name, title in zip(
        figure.subplots(1, 2), ("seconds", "megabytes"), ("CPU seconds", "MB of memory, most"), strict=True
    ):
        for index, (step, measured) in enumerate(rows.items()):
            sizes, values = [int(row["n"]) for row in measured], [row[name] for row in measured]
            growth, along = fit(sizes, values), np.geomspace(min(sizes), max(sizes), 50)
            color = f"C{index}"
            axes.loglog(sizes, values, "o", color=color, markersize=4)
            axes.loglog(along, [growth(n) for n in along], color=color, label=f"{step}: n^{growth.power:.2f}")
        axes.set_title(title)
        axes.set_xlabel("photographs")
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=90)
