"""What the comparison of variants draws: curves of training, histograms of colors, pictures."""

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

from model.color import AB_SCALE, decode_lab, from_network, into_gamut, lab_to_srgb, to_network, to_uint8
from model.data.shards import Shards
from model.inference.predict import predict_ab
from model.inference.saved import load_generator
from model.metrics.ab_intersection import ab_histograms
from model.training.meters import HISTORY
from model.utils.seeds import seeded

_CURVES = ("reconstruction", "val_l1_ab", "val_delta_colorfulness", "d_accuracy")  # of history.jsonl
_PICTURED = 8  # photographs in the contact sheet, spread over the test split


@dataclass(frozen=True)
class Trial:
    """What is drawn of a variant.

    Attributes:
        name: of the variant.
        history: rows of history.jsonl.
        histograms: (2, 256) int64, pixels of what was scored by a and by b.
        pictures: (n, S, S, 3) uint8.
    """

    name: str
    history: list[dict[str, Any]]
    histograms: Tensor
    pictures: NDArray[np.uint8]


def trial(name: str, model: Path, shards: Shards, scored: range) -> Trial:
    """Colors with what train wrote; of the test split what was scored.

    Raises:
        UserError: the generator is missing or damaged.
    """
    generator, _ = load_generator(model)
    histograms = torch.zeros(2, 256, dtype=torch.int64)
    pictures = []
    pictured = set(_pictured(scored))
    labels = torch.from_numpy(shards.label_indices(generator.config.labels))
    for index in scored:
        L, _ = to_network(decode_lab(torch.from_numpy(shards[[index]])))
        ab = predict_ab(generator, L, generator.sample_noise(1, seeded(0, index)), labels[[index]])
        histograms += ab_histograms(ab * AB_SCALE)[0]
        if index in pictured:
            pictures.append(_rgb(from_network(L, ab))[0])
    rows = (model / HISTORY).read_text(encoding="utf-8").splitlines()
    return Trial(name, [json.loads(row) for row in rows], histograms, np.stack(pictures))


def _pictured(scored: range) -> list[int]:
    return [int(index) for index in np.linspace(0, len(scored) - 1, min(_PICTURED, len(scored)))]


def _rgb(lab: Tensor) -> NDArray[np.uint8]:
    """(B, 3, H, W) CIELAB -> (B, H, W, 3) uint8."""
    rgb: NDArray[np.uint8] = to_uint8(lab_to_srgb(into_gamut(lab))).permute(0, 2, 3, 1).numpy()
    return rgb


def draw_curves(trials: Sequence[Trial], path: Path) -> None:
    """Over images seen, a row for each variant; the first variant's stand behind the others' in gray."""
    logged = {name for trial in trials for row in trial.history for name in row}
    curves = [name for name in _CURVES if name in logged] or [_CURVES[0]]  # shorter than log_every: nothing is logged
    figure = Figure(figsize=(2.75 * len(curves), 1.6 * len(trials)), layout="constrained")
    grid = figure.subplots(len(trials), len(curves), squeeze=False, sharex=True, sharey="col")
    for row, trial in zip(grid, trials, strict=True):
        for axes, name in zip(row, curves, strict=True):
            for history, style in ((trials[0].history, "0.7"), (trial.history, "C0")):
                points = [(at["images"], at[name]) for at in history if name in at]
                axes.plot(*(zip(*points, strict=True) if points else ((), ())), color=style, linewidth=1)
            axes.set_title(f"{trial.name}: {name}", fontsize=8)
    figure.savefig(path, dpi=80)


def draw_histograms(trials: Sequence[Trial], truth: Shards, scored: range, path: Path) -> None:
    """The distributions of a and b, each variant against the photographs, on a log scale as in pix2pix's figure 7."""
    true = sum(
        (ab_histograms(decode_lab(torch.from_numpy(truth[[i]]))[:, 1:])[0] for i in scored),
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


def draw_pictures(trials: Sequence[Trial], truth: Shards, scored: range, path: Path) -> None:
    """Rows: gray, each variant, true. Columns: photographs."""
    true = decode_lab(torch.from_numpy(truth[_pictured(scored)]))
    gray = torch.cat((true[:, :1], torch.zeros_like(true[:, 1:])), dim=1)
    rows = {"gray": _rgb(gray), **{trial.name: trial.pictures for trial in trials}, "true": _rgb(true)}
    figure = Figure(figsize=(1.3 * len(true) + 1.6, 1.3 * len(rows)), layout="constrained")
    for axes, (name, pictures) in zip(figure.subplots(len(rows), 1), rows.items(), strict=True):
        axes.imshow(np.concatenate(list(pictures), axis=1))
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.savefig(path, dpi=80, bbox_inches="tight")  # long names as well
