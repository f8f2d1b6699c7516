"""Pictures of a training: grids of held-out photographs as it goes, its curves, and a page of both."""

import base64
import json
from html import escape
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from model.color import decode_lab, from_network, into_gamut, lab_to_srgb, to_network, to_uint8
from model.inference.predict import predict_ab
from model.networks.generator import Generator
from model.training.monitor import ALARM
from model.utils.seeds import seeded

_PANELS = {
    "Reconstruction (ab / 110)": ("reconstruction",),
    "The game": ("adversarial", "discriminator"),
    "Share of patches D judges right": ("d_accuracy",),
    "Spread of a and b (CIELAB units; 0 is gray)": ("ab_spread", "ab_spread_real"),
    "Diversity (ab / 110 per unit of z, negative)": ("diversity",),
    "Between colorings of a photograph (CIELAB)": ("z_sensitivity",),
    "Validation: l1_ab, delta_colorfulness": ("val_l1_ab", "val_delta_colorfulness"),
    "Validation: ab_intersection": ("val_ab_intersection",),
    "Learning rates": ("learning_rate", "discriminator_learning_rate"),
}
"""Title of each panel of the curves, and what it draws of history.jsonl."""


def sample_grid(generator: Generator, stored: Tensor, y: Tensor | None = None, seed: int = 0) -> Image.Image:
    """Photographs side by side: gray above, colored by the generator in the middle, true below.

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
    """The rows of history.jsonl as curves over images seen, into a PNG; the warm-up is shaded, an alarm a red line."""
    figure = Figure(figsize=(12, 9), layout="constrained")
    warm_up = max((row["images"] for row in history if row["phase"] == "warmup"), default=0)
    for axes, (title, names) in zip(figure.subplots(3, 3).flat, _PANELS.items(), strict=True):
        axes.set_title(title, fontsize=10)
        axes.set_xlim(0, history[-1]["images"])
        axes.axvspan(0, warm_up, color="0.93")
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
    for path in sorted((model / "samples").glob("*.png")):
        images = int(path.stem.removeprefix("samples-"))
        caption = f"after {images} images: gray, colored, true"
        parts.append(f"<h2>{caption}</h2>\n{_image(path, caption)}")
    style = "body{font:16px sans-serif;margin:2em auto;max-width:75em;padding:0 1em}img{max-width:100%}"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Training</title>\n<style>{style}</style>\n'
        + "\n".join(parts)
        + "\n</html>\n",
        encoding="utf-8",
    )


def _image(path: Path, alt: str) -> str:
    content = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{content}">'
