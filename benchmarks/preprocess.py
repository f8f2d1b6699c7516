"""Preprocessing against the plain way and against decoding alone, in one run: `python -m benchmarks.preprocess`.

The plain way is what a tutorial writes: one process; Pillow opens, converts to RGB, crops the central square and
resizes it (bicubic); scikit-image converts to LAB; the 8-bit LAB goes into one array, saved at the end. It rejects
nothing and compares nothing. The step does all it does for a pipeline: content hashes, color profiles, orientation,
chroma, perceptual hashes, near-duplicates, manifest, checksums, its workers' start. Decoding alone is the floor under
it: the same processes read the same files and have Pillow decode them, JPEGs at the scale that the step asks for; the
pixels are thrown away. All three are processes of their own, in turns; their imports are not counted. A profile of the
step, taken apart from them, says where its time goes.

The sample photographs are few and small. Two sets made of them stand for what a team brings: `crops`, thousands, where
what the step does once weighs little; and `12 megapixels`, enlarged to what a camera writes.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from PIL import Image, ImageChops, ImageOps

from benchmarks.machine import machine
from components.preprocess.pool import cores

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif"}
SIZES = {"sample": (96, 286, 512), "crops": (286,), "12 megapixels": (286, 512)}
START = """
import sys
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
photos, out, size = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
suffixes = {".jpg", ".jpeg", ".png", ".webp", ".gif"}
def cpu():
    return sum(usage.ru_utime + usage.ru_stime for usage in map(getrusage, (RUSAGE_SELF, RUSAGE_CHILDREN)))
"""
END = """
print(time.perf_counter() - started, cpu() - used)
"""
PLAIN = """
import numpy as np
from PIL import Image
from skimage.color import rgb2lab
started, used = time.perf_counter(), cpu()
stored = []
for path in sorted(photos.rglob("*")):
    if path.suffix.lower() in suffixes:
        image = Image.open(path).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
        lab = rgb2lab(np.asarray(image))
        encoded = np.stack((lab[..., 0] * 2.55, lab[..., 1] + 128, lab[..., 2] + 128))
        stored.append(encoded.round().clip(0, 255).astype(np.uint8))
np.save(out, np.stack(stored))
"""
STEP = """
from components.preprocess.step import preprocess
from model.config import load_config
config = load_config(Path("params.yaml")).preprocess.model_copy(update={"size": size, "min_photographs": 1})
started, used = time.perf_counter(), cpu()
preprocess(photos, out, config, data_version="benchmark")
"""
DECODING = """
import io
from PIL import Image
from components.preprocess.pool import cores, in_processes
def decode(path):
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        image.draft(None, (size, size))
        image.load()
started, used = time.perf_counter(), cpu()
paths = (path for path in sorted(photos.rglob("*")) if path.suffix.lower() in suffixes)
for _ in in_processes(decode, paths, cores()):
    pass
"""
PROGRAMS = {"plain": PLAIN, "step": STEP, "decoding": DECODING}
PROFILE = """
import cProfile
import json
import pstats
from components.preprocess import colors, pool
from components.preprocess.step import preprocess
from model.config import load_config
config = load_config(Path("params.yaml")).preprocess.model_copy(update={"size": size, "min_photographs": 1})
def in_place(function, items, workers):
    return ((item, function(item)) for item in items)
colors.in_processes = pool.in_processes = in_place
pool._start(None)  # one thread, as in a worker
with cProfile.Profile() as profile:
    preprocess(photos, out, config, data_version="benchmark")
spent = {f"{Path(file).name}:{name}": entry[3] for (file, _, name), entry in pstats.Stats(profile).stats.items()}
print(json.dumps(spent))
"""
PHASES = {
    "table of colors": ("colors.py:color_table",),
    "reading, SHA-256": ("pathlib.py:read_bytes", "~:<built-in method _hashlib.openssl_sha256>"),
    "decoding": ("images.py:decode",),
    "scaling": ("worker.py:_central_square",),
    "lookup": ("colors.py:look_up",),
    "perceptual hashes": ("duplicates.py:perceptual_hashes",),
    "near-duplicates": ("merge.py:_without_duplicates",),
    "writing": ("prepared.py:write", "shards.py:write"),
    "all": ("step.py:preprocess",),
}
"""The functions, by file and name, that a phase of the step's profile is the time of."""


def main(
    photos: Annotated[Path, typer.Option(help="Folder of photographs.")] = ROOT / "data",
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each, in turns.")] = 3,
    result: Annotated[Path, typer.Option(help="Where the figures go.")] = ROOT / "benchmarks" / "preprocess.json",
) -> None:
    """Measures all three on every set and size, prints a table, writes the figures."""
    rows = []
    with tempfile.TemporaryDirectory() as made:
        sets = {"sample": photos, "crops": Path(made, "crops"), "12 megapixels": Path(made, "large")}
        _crops(photos, sets["crops"])
        _enlarged(photos, sets["12 megapixels"])
        for name, sizes in SIZES.items():
            for size in sizes:
                rows.append({"set": name, "size": size, **_row(sets[name], size, rounds)})
                print({key: value for key, value in rows[-1].items() if not isinstance(value, dict)}, flush=True)
                print(rows[-1]["profile"], flush=True)
    figures = {"machine": machine(), "date": time.strftime("%Y-%m-%d"), "cores": cores(), "rows": rows}
    result.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _row(photos: Path, size: int, rounds: int) -> dict[str, Any]:
    """Wall-clock and CPU seconds of every run, and what their medians come to.

    Ratios of CPU time are of work alone, and hold on a machine that is busy with something else.
    """
    wall: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    cpu: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(rounds):
        for name, program in PROGRAMS.items():
            with tempfile.TemporaryDirectory() as scratch:
                seconds, used = _run(program, photos, Path(scratch, "out.npy"), size)
            wall[name].append(seconds)
            cpu[name].append(used)
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
        "profile": _profile(photos, size),
    }


def _profile(photos: Path, size: int) -> dict[str, float]:
    """Milliseconds a photograph in each phase of the step, by cProfile, all of it in one process on one thread."""
    with tempfile.TemporaryDirectory() as scratch:
        spent = json.loads(_last_line(PROFILE, photos, Path(scratch, "out"), size))
    count = len(_files(photos))
    return {phase: round(1000 * sum(spent[name] for name in names) / count, 2) for phase, names in PHASES.items()}


def _run(program: str, *arguments: object) -> tuple[float, float]:
    """The wall-clock and CPU seconds that a Python process prints last, its imports left out."""
    seconds, used = _last_line(program + END, *arguments).split()
    return round(float(seconds), 2), round(float(used), 2)


def _last_line(program: str, *arguments: object) -> str:
    command = [sys.executable, "-c", START + program, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()[-1]


def _crops(photos: Path, into: Path) -> None:
    """Of every photograph that is large enough nine parts of half its side, hardly any of them near-duplicates."""
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
    """As many as 144 photographs at 4000 x 3000 pixels, with grain, so that the files are as large as a camera's."""
    into.mkdir()
    files = _files(photos)
    grain = Image.effect_noise((4000, 3000), 6).convert("RGB")  # around 128
    for number, path in enumerate(files[:: max(1, len(files) // 144)][:144]):
        with Image.open(path) as image:
            smooth = ImageOps.fit(image.convert("RGB"), grain.size)
        ImageChops.add(smooth, grain, offset=-128).save(into / f"{number}.jpg", quality=90)


def _files(photos: Path) -> list[Path]:
    return [path for path in sorted(photos.rglob("*")) if path.suffix.lower() in SUFFIXES]


if __name__ == "__main__":
    typer.run(main)
