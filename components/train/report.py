"""Report of a training: its reporter, which logs to MLflow, sample grids, curves, and the page that shows both."""

import json
import os
import sys
import time
from contextlib import ExitStack
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from components.shared.machine.progress import progress
from components.shared.mlflow.runs import Run
from components.shared.page import STYLE, uri
from components.train.environment import ENDED
from components.train.mlflow_queue import MlflowQueue
from components.train.remote import RemoteCheckpoints
from model.color import decode_lab, from_network, into_gamut, lab_to_srgb, to_network, to_uint8
from model.config import TrainConfig
from model.data.shards import Shards
from model.inference.predict import predict_ab
from model.networks.generator import Generator
from model.training.meters import Row
from model.training.monitor import ALARM
from model.training.reporter import Reporter
from model.training.schedule import Phase
from model.utils.files import write_aside
from model.utils.seeds import seeded

SAMPLES = "samples"
"""Folder of the sample grids, samples-<images>.png, beside the checkpoints and in the output."""

_SAMPLED = 8  # photographs in a grid
_PANELS = {
    "Reconstruction (ab / 110)": ("reconstruction",),
    "Adversarial losses": ("adversarial", "discriminator"),
    "Share of patches D judges right": ("d_accuracy",),
    "Spread of a and b (CIELAB units; 0 is gray)": ("ab_spread", "ab_spread_real"),
    "Adversarial gradient over the reconstruction's": ("adversarial_share",),
    "Between colorings of a photograph (CIELAB)": ("z_sensitivity",),
    "Validation: l1_ab, delta_colorfulness": ("val_l1_ab", "val_delta_colorfulness"),
    "Validation: ab_intersection": ("val_ab_intersection",),
    "Learning rates": ("learning_rate", "discriminator_learning_rate"),
}
"""Title of each panel of the curves, and the columns of history.jsonl that it draws."""


class MlflowReporter(Reporter):
    """Logs a training to MLflow, draws sample grids into its folder, and shows its progress."""

    def __init__(
        self,
        folder: Path,
        held_out: Shards,
        config: TrainConfig,
        run: Run,
        queue: MlflowQueue,
        stack: ExitStack,
        remote: RemoteCheckpoints | None,
    ) -> None:
        """
        Args:
            folder: of the training's checkpoints, with a folder `SAMPLES`.
            held_out: photographs; the grids show the first eight.
            config: of the training.
            run: to log to.
            queue: through which it is logged.
            stack: ends with the training; the progress shown ends with it.
            remote: copies checkpoints to S3.
        """
        self._folder, self._run, self._queue, self._remote = folder, run, queue, remote
        self._photographs = torch.from_numpy(held_out[:_SAMPLED])
        self._labels = torch.from_numpy(held_out.label_indices(config.generator.labels)[:_SAMPLED])
        self._stack, self._total = stack, config.images

    def begin(self, images: int) -> None:
        if images:
            print(f"train: resumes from {images} of {self._total} images", file=sys.stderr, flush=True)
        self._seen = images
        self._advance = self._stack.enter_context(progress(self._total, "train", unit="images", done=images))
        if ended := os.environ.get(ENDED):
            self._queue.write(partial(self._run.set_tags, {"restarts": f"{ended}; resumed from {images} images"}))

    def progress(self, images: int) -> None:
        self._advance(images - self._seen)
        self._seen = images

    def row(self, row: Row) -> None:
        numbers = {name: value for name, value in row.items() if isinstance(value, float)}
        self._queue.write(partial(self._run.log_metrics, numbers, int(row["images"]), time.time()))

    def sample(self, images: int, generator: Generator) -> None:
        path = self._folder / SAMPLES / f"samples-{images:09d}.png"
        sample_grid(generator, self._photographs, self._labels).save(path)
        self._queue.write(partial(self._run.log_artifact, path, SAMPLES))

    def checkpoint(self, path: Path) -> None:
        if self._remote:
            self._remote.save(path)

    def alarm(self, sentence: str) -> None:
        self._queue.write(partial(self._run.set_tags, {"health_alarm": sentence}))

    def files(self) -> dict[str, bytes]:
        """Returns the run's id and the sample grids so far, so that a training resumes on another node."""
        paths = [self._folder / "mlflow_run_id", *sorted((self._folder / SAMPLES).glob("*.png"))]
        return {str(path.relative_to(self._folder)): path.read_bytes() for path in paths}


def sample_grid(generator: Generator, stored: Tensor, y: Tensor | None = None, seed: int = 0) -> Image.Image:
    """Draws photographs side by side: gray above, colored by the generator in the middle, true below.

    Args:
        generator: in eval mode, on any device.
        stored: (n, 3, S, S) uint8 stored LAB.
        y: (n,) int64, their labels (see `Generator.forward`); None for unknown ones.
        seed: of z; the same seed gives every photograph the same z in every grid.
    """
    device = next(generator.parameters()).device
    lab = decode_lab(stored.to(device))
    L, _ = to_network(lab)
    z = generator.sample_noise(len(stored), seeded(seed, "sample"))
    z, y = (None if given is None else given.to(device) for given in (z, y))
    colored = into_gamut(from_network(L, predict_ab(generator, L, z, y)))
    gray = torch.cat((lab[:, :1], torch.zeros_like(lab[:, 1:])), dim=1)
    rows = [torch.cat(tuple(lab_to_srgb(row)), dim=-1) for row in (gray, colored, lab)]
    return Image.fromarray(to_uint8(torch.cat(rows, dim=-2)).permute(1, 2, 0).cpu().numpy())


def draw_curves(history: list[dict[str, Any]], path: Path) -> None:
    """Draws the rows of history.jsonl over images seen into a PNG.

    The warm-up is shaded, the discriminator's own phase darker; an alarm is a red line.
    """
    figure = Figure(figsize=(12, 9), layout="constrained")
    ends = {row["phase"]: row["images"] for row in history}
    warm_up = ends.get(Phase.WARM_UP, 0)
    for axes, (title, names) in zip(figure.subplots(3, 3).flat, _PANELS.items(), strict=True):
        axes.set_title(title, fontsize=10)
        axes.set_xlim(0, history[-1]["images"])
        axes.axvspan(0, warm_up, color="0.93")
        axes.axvspan(warm_up, ends.get(Phase.CRITIC, warm_up), color="0.86")
        for row in history:
            if ALARM in row:
                axes.axvline(row["images"], color="tab:red", linewidth=0.8)
        for name in names:
            points = [(row["images"], row[name]) for row in history if name in row]
            if points:
                axes.plot(*zip(*points, strict=True), label=name, linewidth=1)
        if len(axes.get_legend_handles_labels()[1]) > 1:
            axes.legend(fontsize=8)
    figure.supxlabel("images seen", fontsize=10)
    figure.savefig(path, dpi=100)


def curves_page(model: Path, page: Path) -> None:
    """Writes the curves and the sample grids of a train step's output as one self-contained HTML page."""
    facts = json.loads((model / "training.json").read_text(encoding="utf-8"))
    about = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())
    parts = [f"<h1>Training</h1>\n<p>{escape(about)}</p>", _image(model / "curves.png", "training curves")]
    for path in sorted((model / SAMPLES).glob("*.png")):
        images = int(path.stem.removeprefix("samples-"))
        caption = f"after {images} images: gray, colored, true"
        parts.append(f"<h2>{caption}</h2>\n{_image(path, caption)}")
    page.parent.mkdir(parents=True, exist_ok=True)
    head = f'<meta charset="utf-8">\n<title>Training</title>\n<style>{STYLE}</style>'
    body = "\n".join(parts)
    write_aside(page, f'<!doctype html>\n<html lang="en">\n{head}\n{body}\n</html>\n'.encode())


def _image(path: Path, alt: str) -> str:
    return f'<img class="curves" alt="{escape(alt)}" src="{uri("image/png", path.read_bytes())}">'
