"""Preprocessing throughput against the plain way, in one run: `python -m benchmarks.preprocess`.

The plain way is what a tutorial writes: one process; Pillow opens, converts to RGB, crops the central square and
resizes it (bicubic); scikit-image converts to LAB; the 8-bit LAB goes into one array, saved at the end. It rejects
nothing and compares nothing. The step does all it does for a pipeline: content hashes, color profiles, orientation,
chroma, perceptual hashes, near-duplicates, manifest, checksums, its workers' start. Both are processes of their own, in
turns; their imports are not counted. Part of the step's time is a table of colors that takes as long however many
photographs there are: it is measured once more by itself, to tell what many photographs would come to.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent.parent
SIZES = (96, 286, 512)
PLAIN = """
import sys
import time
from pathlib import Path
import numpy as np
from PIL import Image
from skimage.color import rgb2lab
started = time.perf_counter()
photos, out, size = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
suffixes = (".jpg", ".jpeg", ".png", ".webp", ".gif")
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
print(time.perf_counter() - started)
"""

OURS = """
import sys
import time
from pathlib import Path
from components.preprocess.step import preprocess
from components.preprocess.worker import color_table
from model.config import load_config
started = time.perf_counter()
size = int(sys.argv[3])
config = load_config(Path("params.yaml")).preprocess.model_copy(update={"size": size})
preprocess(Path(sys.argv[1]), Path(sys.argv[2]), config, data_version="benchmark")
print(time.perf_counter() - started)
started = time.perf_counter()
color_table()
print(time.perf_counter() - started)
"""


def main(
    photos: Annotated[Path, typer.Option(help="Folder of photographs.")] = ROOT / "data",
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each, in turns.")] = 3,
    result: Annotated[Path, typer.Option(help="Where the figures go.")] = ROOT / "benchmarks" / "preprocess.json",
) -> None:
    """Measures both ways at two sizes, prints a table, writes the figures."""
    rows = []
    for size in SIZES:
        plain, ours, table = [], [], []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as scratch:
                out = Path(scratch)
                plain += _seconds("-c", PLAIN, photos, out / "plain.npy", size)
                whole, start = _seconds("-c", OURS, photos, out / "dataset", size)
                ours.append(whole)
                table.append(start)
        count = _photographs(photos)
        rows.append(
            {
                "size": size,
                "photographs": count,
                "plain_seconds": plain,
                "ours_seconds": ours,
                "of_these_the_table": table,
                "plain_per_second": round(count / median(plain), 1),
                "ours_per_second": round(count / median(ours), 1),
                "ratio": round(median(plain) / median(ours), 2),
                "ratio_without_table": round(median(plain) / (median(ours) - median(table)), 2),
                "ratios": [round(a / b, 2) for a, b in zip(plain, ours, strict=True)],
            }
        )
    figures = {"machine": machine(), "date": time.strftime("%Y-%m-%d"), "rows": rows}
    result.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"{'size':>5} {'plain, photographs/s':>22} {'ours, photographs/s':>22} {'ratio':>7} {'without table':>15}")
    for row in rows:
        print(
            f"{row['size']:>5} {row['plain_per_second']:>22} {row['ours_per_second']:>22} {row['ratio']:>7}"
            f" {row['ratio_without_table']:>15}"
        )


def _seconds(*arguments: object) -> list[float]:
    """The times that a Python process prints, its imports left out."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [round(float(line), 2) for line in done.stdout.splitlines() if line.replace(".", "", 1).isdigit()]


def _photographs(photos: Path) -> int:
    return sum(path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".gif") for path in photos.rglob("*"))


def machine() -> str:
    """The processor's name, the cores there are, Python's version."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    return f"{name}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    typer.run(main)
