"""Compares the speed of `colorize photo` on a folder with the speed of the model alone.

The folder holds copies of the sample photographs and is colored in parts. For each part `color_photographs` reads,
decodes, colors, encodes and writes; in turns with it `Colorizer` colors the same photographs, decoded before. Both
have all cores. The ratio falls short of 1 by the cost of reading and writing.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import mean
from typing import Annotated, TypeVar

import torch
import typer

from benchmarks.tools import FOLDER, ROOT, speedup, write
from model.data.encoding import encode
from model.data.images import decode
from model.data.kinds import SUFFIXES
from model.inference.colorizer import Colorizer
from model.utils.files import write_aside
from pipeline.data.versions import ensure_data
from serving.photos import color_photographs
from serving.record import sha256_of

_PART = 100  # photographs, at most

T = TypeVar("T")


def main(
    photographs: Annotated[int, typer.Option(min=2, help="Number of photographs in the folder.")] = 1000,
    photos: Annotated[Path, typer.Option(help="Folder of photographs.")] = ROOT / "data",
    champion: Annotated[Path, typer.Option(help="Generator folder.")] = ROOT / "champion",
    result: Annotated[Path, typer.Option(help="File of figures to write.")] = FOLDER / "photo.json",
) -> None:
    """Measures both ways on each part of the folder; prints and writes the figures."""
    ensure_data(ROOT, "champion")
    colorizer = Colorizer.load(champion)
    with tempfile.TemporaryDirectory() as scratch:
        parts = album(photos, Path(scratch) / "album", photographs)
        rows = [in_turns(colorizer, champion, part, Path(scratch) / "colored" / part.name) for part in parts]
        seconds = stages(colorizer, sorted(parts[0].iterdir()), Path(scratch) / "one")
    alone, folder = ([row[way] for row in rows] for way in ("alone", "folder"))
    figures = {
        "a folder's speed / the model's alone": speedup(alone, folder),
        "a folder: photographs a second": round(photographs / sum(folder), 2),
        "the model alone: photographs a second": round(photographs / sum(alone), 2),
    }
    write(
        result,
        figures,
        photographs=photographs,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        cpu_milliseconds={stage: round(1000 * value, 1) for stage, value in seconds.items()},
        seconds=rows,
    )


def album(photos: Path, folder: Path, count: int) -> list[Path]:
    """Copies `count` photographs into folders, spread evenly over the sources; returns the folders."""
    found = sorted(file for file in photos.rglob("*") if file.suffix.lower() in SUFFIXES)
    parts = max(2, -(-count // _PART))
    for index in range(count):
        source = found[index * len(found) // count if count < len(found) else index % len(found)]
        part = folder / f"{index % parts:03d}"
        part.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, part / f"{index:06d}{source.suffix}")
    return sorted(folder.iterdir())


def in_turns(colorizer: Colorizer, champion: Path, part: Path, out: Path) -> dict[str, float]:
    """Returns the seconds for one part: of the folder, which includes loading the model, and of the model alone."""
    decoded = [decode(file) for file in sorted(part.iterdir())]
    colorizer.colorize(decoded[0].rgb)  # warms up

    def folder() -> None:
        with redirect_stdout(StringIO()):
            done = color_photographs([part], out, lambda: (champion, None))
        assert (done.colored, done.failures) == (len(decoded), [])

    def alone() -> None:
        for photograph in decoded:
            colorizer.colorize(photograph.rgb)

    ways: dict[str, Callable[[], None]] = {"alone": alone, "folder": folder}
    order = sorted(ways, reverse=int(part.name) % 2 == 1)  # each is the first as often as the other
    return {way: round(_seconds(ways[way]), 3) for way in order}


def stages(colorizer: Colorizer, files: Sequence[Path], scratch: Path) -> dict[str, float]:
    """Returns the mean CPU seconds of each stage of a photograph; for writing, the wall-clock seconds."""
    spent: dict[str, list[float]] = {}

    def timed(stage: str, work: Callable[[], T], clock: Callable[[], float] = time.process_time) -> T:
        started = clock()
        done = work()
        spent.setdefault(stage, []).append(clock() - started)
        return done

    for file in files:
        photograph = timed("decode", lambda file=file: decode(file))
        timed("checksum", lambda file=file: sha256_of(file))
        colored = timed("color", lambda rgb=photograph.rgb: colorizer.colorize(rgb)[0])
        content = timed("encode", lambda rgb=colored, like=photograph: encode(rgb, like))
        timed("write", lambda content=content: write_aside(scratch, content), time.perf_counter)
    return {stage: mean(values) for stage, values in spent.items()}


def _seconds(way: Callable[[], None]) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started
