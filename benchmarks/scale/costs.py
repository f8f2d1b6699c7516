"""Estimates of the cost of retraining on many photographs, from the figures of results.json.

Everything here is an extrapolation: CPU hours, memory and bytes from the measured figures and their fits; GPU hours
from the counted floating-point operations and an assumed share of the GPU's peak; dollars from assumed prices.
"""

import math
from typing import Any

from benchmarks.scale.growth import Growth
from benchmarks.tools import ROOT
from benchmarks.train_step import operations
from pipeline.config import load_config

_ROWS = (1_000, 10_000, 100_000)  # in the table
_MEASURED = ("photographs", "CPU seconds", "MB of memory at the peak", "bytes left for each")

PHOTOGRAPHS = (1_000_000, 100_000_000)
JPEG_BYTES = 4e6
"""Size of a camera's JPEG, 12 megapixels."""
JPEG_SECONDS = 1 / 25.4
"""Core seconds to preprocess one of these at 286 pixels (benchmarks/preprocess.json)."""
STORED_BYTES = 3 * 286**2
PARTITION = 50_000
"""Photographs that one pod of eight cores prepares."""
CORES = 8
EPOCHS, IMAGES = 20, 50_000_000
"""Length of training: this many epochs, but at most this many images."""
PEAK, USED = 989e12, 0.25
"""FLOP/s of an H100 in bfloat16, dense; the share that these networks are assumed to reach."""
GPUS = 8
SCORED = 10_000
"""`evaluate.photographs`."""
DOLLARS = {
    "core-hour": 0.045,
    "H100-hour": 4.0,
    "GB-month": 0.023,
    "1,000 reads": 0.0004,
    "1,000 writes": 0.005,
}
"""Round figures near the on-demand list prices of large clouds; replace them with your own."""


def tables(results: dict[str, Any]) -> str:
    """Formats three Markdown tables: figures by rows, figures of real photographs, estimates of large sets."""
    columns = [estimate(results, n) for n in PHOTOGRAPHS]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    return "\n".join(
        (
            _table(["step, by rows", *_MEASURED, "seconds grow as", "memory for each more"], _by_rows(results)),
            _table(["step, by real photographs", *_MEASURED], _real(results)),
            _table(["", *(f"{n:,} photographs" for n in PHOTOGRAPHS)], rows),
        )
    )


def _by_rows(results: dict[str, Any]) -> list[list[str]]:
    table = []
    for step, measured in results["rows"].items():
        growth = {what: Growth(**found) for what, found in results["growth"][step].items()}
        power = f"n^{growth['seconds'].power:.2f}" if growth["seconds"].power else "not"
        sizes = [row for row in measured if row["n"] in _ROWS]
        table.append([step, *_figures(sizes), power, f"{1000 * growth['megabytes'].factor:.2f} KB"])
    return table


def _real(results: dict[str, Any]) -> list[list[str]]:
    return [[step, *_figures(measured)] for step, measured in results["real"].items()]


def _figures(rows: list[dict[str, float]]) -> list[str]:
    columns = (
        [f"{row['n']:,}" for row in rows],
        [f"{row['seconds']:.3g}" for row in rows],
        [f"{row['megabytes']:,.0f}" for row in rows],
        [f"{row['bytes'] / row['n']:,.0f}" for row in rows],
    )
    return [" / ".join(column) for column in columns]


def _table(head: list[str], rows: list[list[str]]) -> str:
    """Formats a Markdown table."""
    lines = [head, ["---", *(["---:"] * (len(head) - 1))], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def estimate(results: dict[str, Any], n: int) -> dict[str, str]:
    """Estimates the cost of n photographs, by item."""

    def grown(step: str, what: str) -> float:
        return Growth(**results["growth"][step][what])(n)

    decoding = n * JPEG_SECONDS / 3600
    pods = math.ceil(n / PARTITION)
    merging = (
        grown("merge", "seconds") / 3600 + 2 * n * STORED_BYTES / 300e6 / 3600
    )  # pixels read and written, 300 MB/s
    images = min(EPOCHS * n, IMAGES)
    gpu_hours = images * flops_per_image() / (PEAK * USED) / 3600
    few, _, many = results["real"]["evaluate"]
    scoring = min(0.15 * n, SCORED) * (many["seconds"] - few["seconds"]) / (0.15 * (many["n"] - few["n"])) / 3600
    reads, writes = n + images / 1024 / 4, n / 1024
    prices = DOLLARS
    dollars = {
        "cores": (decoding + merging + scoring) * prices["core-hour"],
        "GPUs": gpu_hours * prices["H100-hour"],
        "requests": reads / 1000 * prices["1,000 reads"] + writes / 1000 * prices["1,000 writes"],
    }
    stored = n * (JPEG_BYTES + 2 * STORED_BYTES) / 1e9
    return {
        "photographs in S3": f"{n * JPEG_BYTES / 1e12:,.1f} TB",
        "shards": f"{n * STORED_BYTES / 1e12:,.2f} TB in {n / 1024:,.0f} files",
        "preprocess: core-hours": f"{decoding:,.0f}",
        f"preprocess: pods of {CORES} cores": f"{pods:,}, {decoding / pods / CORES * 60:,.0f} minutes each",
        "merge, one pod: hours": f"{merging:,.1f}",
        "merge: memory": f"{grown('merge', 'megabytes') / 1000:,.1f} GB",
        "merge: disk": f"{2 * n * STORED_BYTES / 1e12:,.1f} TB",
        "inspect: memory": f"{grown('inspect', 'megabytes') / 1000:,.1f} GB",
        "train: images seen": f"{images:,}",
        f"train: hours of {GPUS} H100": f"{gpu_hours / GPUS:,.1f}",
        "train: memory for the order, each process": f"{grown('train', 'megabytes') / 1000:,.1f} GB",
        f"evaluate, {SCORED:,} photographs: core-hours": f"{scoring:,.1f}",
        "requests to S3": f"{reads / 1e6:,.1f} million reads, {writes / 1e3:,.0f} thousand writes",
        "dollars a run": f"{sum(dollars.values()):,.0f} ("
        + ", ".join(f"{name} {value:,.0f}" for name, value in dollars.items())
        + ")",
        "dollars a month of storage": f"{stored * prices['GB-month']:,.0f}",
    }


def flops_per_image() -> float:
    """Counts the floating-point operations of a training step of recipe pix2pix at 256 pixels."""
    config = load_config(ROOT / "params.yaml", (ROOT / "recipes" / "pix2pix.yaml",)).train
    return operations(config) / config.batch_size
