"""How every step grows with the number of photographs: `python -m benchmarks.scale`.

Each step runs on 1, 3, 10, 30 and 100 thousand synthetic rows, in a process of its own, and its CPU seconds, its peak
of memory and the bytes it leaves are noted; so are those of the sample photographs, whole and in parts of a quarter and
a half. Writes benchmarks/scale/results.json and growth.png.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.machine import FOLDER, write
from benchmarks.scale.growth import FITS, draw
from benchmarks.scale.measure import measured
from benchmarks.scale.real import REAL, SIZES
from benchmarks.scale.steps import STEPS

ROWS = (1_000, 3_000, 10_000, 30_000, 100_000)


def main(
    most: Annotated[int, typer.Option(help="The largest number of rows.")] = ROWS[-1],
    result: Annotated[Path, typer.Option(help="Folder for results.json and growth.png.")] = FOLDER / "scale",
) -> None:
    """Measures, fits, draws."""
    rows = {name: [measured(step, n) for n in ROWS if n <= most] for name, step in STEPS.items()}
    real = {name: [measured(step, n) for n in SIZES] for name, step in REAL.items()}
    growth = {
        name: {what: fit([row["n"] for row in each], [row[what] for row in each]) for what, fit in FITS.items()}
        for name, each in rows.items()
    }
    figures: dict[str, float] = {}
    for name, each in growth.items():
        figures[f"{name}: seconds grow as n to the power"] = each["seconds"].power
        figures[f"{name}: KB of memory for each photograph"] = 1000 * each["megabytes"].factor
    draw(rows, growth, result / "growth.png")
    write(
        result / "results.json",
        figures,
        rows=rows,
        real=real,
        growth={name: {what: each[what]._asdict() for what in each} for name, each in growth.items()},
        load_before=os.getloadavg()[0],
    )


if __name__ == "__main__":
    typer.run(main)
