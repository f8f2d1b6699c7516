"""Several variants of a recipe on the same photographs, side by side: a table, color histograms, pictures."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from model.batches import seeded
from model.checkpoint import load_generator
from model.color import AB_SCALE, decode_lab, from_network, into_gamut, lab_to_srgb, to_network, to_uint8
from model.config import load_config
from model.files import write_aside
from model.history import HISTORY
from model.inference import predict_ab
from model.metrics.ab_intersection import ab_histograms
from model.shards import Shards
from pipeline import ROOT, local_run

METRICS = (
    "l1_ab", "l1_ab_best", "psnr", "colorfulness", "delta_colorfulness", "ab_intersection", "kid_efflite0", "diversity",
)  # fmt: skip
_CURVES = ("reconstruction", "val_l1_ab", "val_delta_colorfulness", "d_accuracy")  # of history.jsonl
_PICTURED = 8  # photographs in the contact sheet, spread over the test split


@dataclass(frozen=True)
class Trial:
    """A variant, trained and scored.

    Attributes:
        name: of the variant's recipe.
        metrics: metrics.json.
        history: rows of history.jsonl.
        histograms: (2, 256) int64, pixels of the test split by a and by b.
        pictures: (n, S, S, 3) uint8.
    """

    name: str
    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    histograms: Tensor
    pictures: NDArray[np.uint8]


def sweep(base: Sequence[Path], variants: dict[str, Path], overrides: Sequence[str], out: Path) -> list[Trial]:
    """Trains and scores every variant, or reuses what is finished, and compares them.

    Writes table.md, results.json, curves.png, histograms.png and pictures.png to `out`.

    Args:
        base: recipes that all share, each on top of the one before.
        variants: name -> recipe on top of those.
        overrides: key=value, on top of everything.
        out: folder for what is compared.

    Raises:
        UserError: as `local_run.run_trial`.
    """
    trials = []
    for number, (name, recipe) in enumerate(variants.items(), start=1):
        print(f"{name} ({number} of {len(variants)})", flush=True)
        config = load_config(ROOT / "params.yaml", (*base, recipe), tuple(overrides))
        folders = local_run.run_trial(config)
        trials.append(_trial(name, folders))
    truth = Shards.open(folders["dataset"], "test")
    out.mkdir(parents=True, exist_ok=True)
    write_aside(out / "table.md", _table(trials).encode())
    results = {trial.name: trial.metrics for trial in trials}
    write_aside(out / "results.json", (json.dumps(results, indent=2) + "\n").encode())
    _draw_curves(trials, out / "curves.png")
    _draw_histograms(trials, truth, out / "histograms.png")
    _draw_pictures(trials, truth, out / "pictures.png")
    return trials


def _trial(name: str, folders: dict[str, Path]) -> Trial:
    generator, _ = load_generator(folders["generator"])
    shards = Shards.open(folders["dataset"], "test")
    histograms = torch.zeros(2, 256, dtype=torch.int64)
    pictures = []
    pictured = set(_pictured(shards))
    labels = torch.from_numpy(shards.label_indices(generator.config.labels))
    for index in range(len(shards)):
        L, _ = to_network(decode_lab(torch.from_numpy(shards[[index]])))
        ab = predict_ab(generator, L, generator.sample_noise(1, seeded(0, index)), labels[[index]])
        histograms += ab_histograms(ab * AB_SCALE)[0]
        if index in pictured:
            pictures.append(_rgb(from_network(L, ab))[0])
    metrics = json.loads((folders["evaluation"] / "metrics.json").read_text(encoding="utf-8"))
    rows = (folders["generator"] / HISTORY).read_text(encoding="utf-8").splitlines()
    return Trial(name, metrics, [json.loads(row) for row in rows], histograms, np.stack(pictures))


def _pictured(shards: Shards) -> list[int]:
    return [int(index) for index in np.linspace(0, len(shards) - 1, min(_PICTURED, len(shards)))]


def _rgb(lab: Tensor) -> NDArray[np.uint8]:
    """(B, 3, H, W) CIELAB -> (B, H, W, 3) uint8."""
    rgb: NDArray[np.uint8] = to_uint8(lab_to_srgb(into_gamut(lab))).permute(0, 2, 3, 1).numpy()
    return rgb


def _table(trials: Sequence[Trial]) -> str:
    """Markdown: a row for each variant, then the baselines."""
    rows = {trial.name: trial.metrics for trial in trials}
    rows |= {name: trials[0].metrics[name] for name in ("gray", "mean_by_lightness")}
    lines = [f"| variant | {' | '.join(METRICS)} |", f"| --- |{' ---: |' * len(METRICS)}"]
    for name, metrics in rows.items():
        figures = (metrics.get(metric) for metric in METRICS)
        lines.append(f"| {name} | {' | '.join('' if f is None else f'{f:.4g}' for f in figures)} |")
    return "\n".join(lines) + "\n"


def _draw_curves(trials: Sequence[Trial], path: Path) -> None:
    """Over images seen, a row for each variant; the first variant's stand behind the others' in gray."""
    figure = Figure(figsize=(11, 1.6 * len(trials)), layout="constrained")
    grid = figure.subplots(len(trials), len(_CURVES), squeeze=False, sharex=True, sharey="col")
    for row, trial in zip(grid, trials, strict=True):
        for axes, name in zip(row, _CURVES, strict=True):
            for history, style in ((trials[0].history, "0.7"), (trial.history, "C0")):
                points = [(at["images"], at[name]) for at in history if name in at]
                axes.plot(*(zip(*points, strict=True) if points else ((), ())), color=style, linewidth=1)
            axes.set_title(f"{trial.name}: {name}", fontsize=8)
    figure.savefig(path, dpi=80)


def _draw_histograms(trials: Sequence[Trial], truth: Shards, path: Path) -> None:
    """The distributions of a and b, each variant against the photographs, on a log scale as in pix2pix's figure 7."""
    true = sum(
        (ab_histograms(decode_lab(torch.from_numpy(truth[[i]]))[:, 1:])[0] for i in range(len(truth))),
        torch.zeros(2, 256, dtype=torch.int64),
    )
    figure = Figure(figsize=(9, 2.2 * len(trials)), layout="constrained")
    for row, trial in zip(figure.subplots(len(trials), 2, squeeze=False, sharex=True), trials, strict=True):
        for axes, channel, drawn, real in zip(row, "ab", trial.histograms, true, strict=True):
            for counts, label, style in ((real, "photographs", "0.6"), (drawn, trial.name, "C0")):
                axes.semilogy(range(-128, 128), (counts / counts.sum()).clamp(min=1e-6), color=style, label=label)
            axes.set_ylim(1e-5, 1)
            axes.set_xlim(-80, 80)
            axes.set_title(f"{trial.name}: {channel}", fontsize=9)
    figure.savefig(path, dpi=80)


def _draw_pictures(trials: Sequence[Trial], truth: Shards, path: Path) -> None:
    """Rows: gray, each variant, true. Columns: photographs."""
    true = decode_lab(torch.from_numpy(truth[_pictured(truth)]))
    gray = torch.cat((true[:, :1], torch.zeros_like(true[:, 1:])), dim=1)
    rows = {"gray": _rgb(gray), **{trial.name: trial.pictures for trial in trials}, "true": _rgb(true)}
    figure = Figure(figsize=(1.3 * len(true) + 1.6, 1.3 * len(rows)), layout="constrained")
    for axes, (name, pictures) in zip(figure.subplots(len(rows), 1), rows.items(), strict=True):
        axes.imshow(np.concatenate(list(pictures), axis=1))
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.savefig(path, dpi=80)
