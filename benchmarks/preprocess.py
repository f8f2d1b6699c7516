"""Compares the speed of preprocessing with a plain script and with decoding alone.

The plain script is what a tutorial writes: one process; Pillow opens, converts to RGB, crops the central square and
resizes it (bicubic); scikit-image converts to LAB; numpy saves one array of 8-bit LAB. It rejects and compares
nothing. The step does all its work: hashes, color profiles, orientation, chroma, near-duplicates, manifest, start of
the workers. Decoding alone is the lower bound: as many processes have Pillow decode the same files, JPEGs at the scale
that the step asks for. Each is a process of its own, in turns; imports are not counted.

The sample photographs are few and small. Two sets made of them stand for a team's photographs: `crops`, thousands,
where the step's fixed costs weigh little; and `12 megapixels`, enlarged to a camera's size.
"""

import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image, ImageChops, ImageOps
from skimage.color import rgb2lab

from benchmarks.tools import FOLDER, ROOT, alone, write
from components.preprocess.pool import in_processes
from components.preprocess.step import preprocess
from model.utils.cores import cores
from pipeline.config import load_config

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif"}
SIZES = {"sample": (96, 286, 512), "crops": (286,), "12 megapixels": (286, 512)}


def main(
    photos: Annotated[Path, typer.Option(help="Folder of photographs.")] = ROOT / "data",
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each, in turns.")] = 3,
    result: Annotated[Path, typer.Option(help="File of figures to write.")] = FOLDER / "preprocess.json",
) -> None:
    """Measures all three on every set and size, writes the figures."""
    rows, figures = [], {}
    with tempfile.TemporaryDirectory() as made:
        sets = {"sample": photos, "crops": Path(made, "crops"), "12 megapixels": Path(made, "large")}
        _crops(photos, sets["crops"])
        _enlarged(photos, sets["12 megapixels"])
        for name, sizes in SIZES.items():
            for size in sizes:
                row = compare(sets[name], size, rounds)
                rows.append({"set": name, "size": size, **row})
                for figure in ("times_plain", "share_of_decoding"):
                    figures[f"{name} at {size} pixels: {figure}"] = row[figure]
    write(result, figures, cores=cores(), rows=rows)


def compare(photos: Path, size: int, rounds: int) -> dict[str, Any]:
    """Returns wall-clock and CPU seconds of every run, and the ratios of their medians.

    Ratios of CPU time hold on a machine that is busy with other work.
    """
    ways: dict[str, Callable[[Path, Path, int], object]] = {"plain": plain, "step": step, "decoding": decoding}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as scratch:
                seconds, used = alone(_timed, way, photos, Path(scratch, "out"), size)
            wall[name].append(round(seconds, 2))
            cpu[name].append(round(used, 2))
    count = len(_files(photos))
    seconds_of = {name: median(values) for name, values in wall.items()}
    cpu_of = {name: median(values) for name, values in cpu.items()}
    return {
        "photographs": count,
        "seconds": wall,
        "cpu_seconds": cpu,
        "plain_per_second": round(count / seconds_of["plain"], 1),
        "step_per_second": round(count / seconds_of["step"], 1),
        "step_per_second_per_core": round(count / seconds_of["step"] / cores(), 1),
        "decoding_per_second_per_core": round(count / seconds_of["decoding"] / cores(), 1),
        "times_plain": round(seconds_of["plain"] / seconds_of["step"], 2),
        "share_of_decoding": round(seconds_of["decoding"] / seconds_of["step"], 2),
        "times_plain_by_cpu": round(cpu_of["plain"] / cpu_of["step"], 2),
        "share_of_decoding_by_cpu": round(cpu_of["decoding"] / cpu_of["step"], 2),
    }


def plain(photos: Path, out: Path, size: int) -> None:
    """Prepares the photographs as a tutorial does."""
    stored = []
    for path in _files(photos):
        image = Image.open(path).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
        lab = rgb2lab(np.asarray(image))
        encoded = np.stack((lab[..., 0] * 2.55, lab[..., 1] + 128, lab[..., 2] + 128))
        stored.append(encoded.round().clip(0, 255).astype(np.uint8))
    np.save(out, np.stack(stored))


def step(photos: Path, out: Path, size: int) -> None:
    """Prepares the photographs as the pipeline does."""
    config = load_config(ROOT / "params.yaml").preprocess
    config = config.model_copy(update={"size": size, "min_photographs": 1})
    preprocess(photos, out, config, data_version="benchmark")


def decoding(photos: Path, out: Path, size: int) -> None:
    """Decodes the photographs in as many processes as the pipeline and drops the pixels."""

    def decode(path: Path) -> None:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            image.draft(None, (size, size))
            image.load()

    for _ in in_processes(decode, iter(_files(photos)), cores()):
        pass


def _timed(way: Callable[[Path, Path, int], object], photos: Path, out: Path, size: int) -> tuple[float, float]:
    started, used = time.perf_counter(), _cpu()
    way(photos, out, size)
    return time.perf_counter() - started, _cpu() - used


def _cpu() -> float:
    return sum(usage.ru_utime + usage.ru_stime for usage in map(getrusage, (RUSAGE_SELF, RUSAGE_CHILDREN)))


def _crops(photos: Path, into: Path) -> None:
    """Cuts nine parts of half its side out of every photograph that is large enough; few are near-duplicates."""
    into.mkdir()
    for number, path in enumerate(_files(photos)):
        with Image.open(path) as image:
            if min(image.size) < 500:
                continue
            picture = image.convert("RGB")
        width, height = picture.width // 2, picture.height // 2
        for left in (0, width // 2, width):
            for top in (0, height // 2, height):
                part = picture.crop((left, top, left + width, top + height))
                part.save(into / f"{number}-{left}-{top}.jpg", quality=90)


def _enlarged(photos: Path, into: Path) -> None:
    """Enlarges up to 144 photographs to 4000 x 3000 pixels; grain makes the files as large as a camera's."""
    into.mkdir()
    files = _files(photos)
    grain = Image.effect_noise((4000, 3000), 6).convert("RGB")  # around 128
    for number, path in enumerate(files[:: max(1, len(files) // 144)][:144]):
        with Image.open(path) as image:
            smooth = ImageOps.fit(image.convert("RGB"), grain.size)
        ImageChops.add(smooth, grain, offset=-128).save(into / f"{number}.jpg", quality=90)


def _files(photos: Path) -> list[Path]:
    return [path for path in sorted(photos.rglob("*")) if path.suffix.lower() in SUFFIXES]
