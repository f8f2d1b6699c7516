"""Measures how each step's time and memory grow with the number of photographs, and estimates large sets.

Each step runs on 1, 3, 10, 30 and 100 thousand synthetic rows, in a process of its own, and on the sample photographs,
whole and in parts. Writes benchmarks/scale/results.json and growth.png and prints the tables of
docs/operate/scaling.md.
"""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.scale.costs import tables
from benchmarks.scale.growth import FITS, draw
from benchmarks.scale.measure import measured
from benchmarks.scale.real import REAL, SIZES
from benchmarks.scale.steps import STEPS
from benchmarks.tools import FOLDER, write

ROWS = (1_000, 3_000, 10_000, 30_000, 100_000)


def main(
    most: Annotated[int, typer.Option(help="Largest number of rows.")] = ROWS[-1],
    out: Annotated[Path, typer.Option(help="Folder of results.json and growth.png.")] = FOLDER / "scale",
    only_tables: Annotated[bool, typer.Option("--only-tables", help="Tables of the results on file.")] = False,
) -> None:
    """Measures, fits, draws, prints the tables."""
    if not only_tables:
        measure(most, out)
    print(tables(json.loads((out / "results.json").read_bytes())))


def measure(most: int, out: Path) -> None:
    """Measures every step and writes results.json and growth.png."""
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
    draw(rows, growth, out / "growth.png")
    write(
        out / "results.json",
        figures,
        rows=rows,
        real=real,
        growth={name: {what: each[what]._asdict() for what in each} for name, each in growth.items()},
        load_before=os.getloadavg()[0],
    )
