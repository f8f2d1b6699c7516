"""Scores generators on damaged photographs: `python -m benchmarks robustness outputs/without outputs/with`.

Each generator colors every test photograph from its lightness as it is and after each damage of model/data/damage.py;
the last row is an old photograph: all damages in turn, half as strong. The predicted a and b are scored on the true
lightness against the true a and b, so that the figures measure color alone. Writes robustness.json and robustness.jpg
(a photograph for each damage), and prints a table.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from benchmarks.tools import FOLDER, ROOT, machine
from components.evaluate import protocol
from components.evaluate.accumulate import MetricAccumulator, measure, to_displayable
from components.evaluate.candidates import GeneratorCandidate
from components.evaluate.features import FeatureNetworks, load_networks
from components.shared.machine.progress import progress
from components.shared.machine.workspace import workspace
from components.shared.step import step
from model.color import decode_lab, lab_to_srgb, to_uint8
from model.data.damage import DAMAGES, damaged
from model.data.shards import Shards
from model.inference.saved import load_generator
from model.utils.errors import UserError
from model.utils.seeds import seeded
from pipeline.config import load_config

METRICS = ("l1_ab", "ab_intersection", "delta_colorfulness", "kid_efflite0")
_DIGITS = {"l1_ab": 2, "ab_intersection": 3, "delta_colorfulness": 1, "kid_efflite0": 4}
_AT_ONCE = 32  # photographs
_SIDE, _HEADER, _GAP = 160, 20, 12  # pixels, of the contact sheet
_ACROSS = 2  # photographs side by side

Rows = dict[str, dict[str, float]]
"""Rows of the table: the strength of each damage, in the order in which they are applied."""
Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Scores by row of the table, generator and metric."""


def main(
    models: Annotated[list[Path], typer.Argument(help="Generator folders, such as one trained without, one with.")],
    dataset: Annotated[Path, typer.Option(help="Dataset folder of the preprocess step.")] = Path("outputs/dataset"),
    strength: Annotated[float, typer.Option(min=0, max=1, help="Strength of each damage alone.")] = 1.0,
    out: Annotated[Path, typer.Option(help="Folder for the figures and the pictures.")] = FOLDER,
) -> None:
    """Scores generators on damaged photographs."""
    with step("robustness"):
        rows: Rows = {"undamaged": {}} | {name: {name: strength} for name in DAMAGES}
        rows["old photograph"] = dict.fromkeys(DAMAGES, strength / 2)
        config = load_config(ROOT / "params.yaml").evaluate
        test = Shards.open(dataset, "test")
        candidates = {
            folder.name: GeneratorCandidate(load_generator(folder)[0], test, 1, config.seed) for folder in models
        }
        if len(candidates) < len(models):
            raise UserError("Two generator folders have the same name, which names their columns; rename one.")
        networks = load_networks(config, workspace() / "cache" / "weights", len(test), test.size, torch.device("cpu"))
        scores = score_all(test, rows, candidates, networks)
        figures = {
            "machine": machine(),
            "date": time.strftime("%Y-%m-%d"),
            "scores": scores,
            "protocol": {
                **protocol.conditions(test, len(test), config, METRICS, networks.weights),
                "samples": 1,
                "damage": "of the lightness that the generator sees; its a and b are scored on the true lightness",
                "strengths": rows,
                "generators_sha256": {folder.name: _sha256(folder / "generator.safetensors") for folder in models},
            },
        }
        (out / "robustness.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        contact_sheet(test, rows, candidates).save(out / "robustness.jpg", quality=88)
        print(table(scores))


@torch.inference_mode()
def score_all(
    test: Shards, rows: Rows, candidates: Mapping[str, GeneratorCandidate], networks: FeatureNetworks
) -> Scores:
    """Scores every generator on every row."""
    truth, accumulators = MetricAccumulator(), {row: {name: MetricAccumulator() for name in candidates} for row in rows}
    with progress(len(test), "robustness", unit="photographs") as advance:
        for start in range(0, len(test), _AT_ONCE):
            indices = range(start, min(start + _AT_ONCE, len(test)))
            stored = torch.from_numpy(test[indices])
            seen = measure(decode_lab(stored), networks)
            truth.add_truth(seen)
            for row, strengths in rows.items():
                lightness = _lightness(stored, indices, strengths)
                for name, candidate in candidates.items():
                    accumulators[row][name].add(seen, stored[:, :1], candidate(lightness, indices), networks)
            advance(len(indices))
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for row, by_name in accumulators.items():
        everything = {name: accumulator.scores(truth, networks.spaces) for name, accumulator in by_name.items()}
        scores[row] = {name: {metric: all_[metric] for metric in METRICS} for name, all_ in everything.items()}
    return scores


def _lightness(stored: Tensor, photographs: Sequence[int], strengths: Mapping[str, float]) -> Tensor:
    """Damages the lightness of photographs, the same way for any batch: (B, 3, H, W) -> (B, 1, H, W) uint8."""
    left = []
    for photograph, index in zip(stored, photographs, strict=True):
        for name, strength in strengths.items():
            photograph = damaged(photograph, name, strength, seeded(0, "robustness", name, index))
        left.append(photograph[:1])
    return torch.stack(left)


def table(scores: Scores) -> str:
    """Formats a Markdown table: a row for each damage, then their mean; a column for each metric and generator."""
    mean = {
        name: {m: sum(scores[row][name][m] for row in DAMAGES) / len(DAMAGES) for m in METRICS}
        for name in scores["undamaged"]
    }
    columns = [(metric, name) for metric in METRICS for name in mean]
    lines = [
        "| | " + " | ".join(f"{metric} {name}" for metric, name in columns) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for row, by_name in {**scores, f"mean of the {len(DAMAGES)} damages": mean}.items():
        figures = (f"{by_name[name][metric]:.{_DIGITS[metric]}f}" for metric, name in columns)
        lines.append(f"| {row.replace('_', ' ')} | {' | '.join(figures)} |")
    return "\n".join(lines)


@torch.inference_mode()
def contact_sheet(test: Shards, rows: Rows, candidates: Mapping[str, GeneratorCandidate]) -> Image.Image:
    """Draws one photograph for each row, spread over the test split: gray, each generator's coloring, true."""
    width, height = (len(candidates) + 2) * _SIDE + _GAP, _SIDE + _HEADER
    sheet = Image.new("RGB", (_ACROSS * width - _GAP, -(-len(rows) // _ACROSS) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (row, strengths) in enumerate(rows.items()):
        index = number * (len(test) - 1) // max(1, len(rows) - 1)
        stored = torch.from_numpy(test[[index]])
        lightness = _lightness(stored, [index], strengths)
        pictures = {row.replace("_", " "): to_displayable(lightness, torch.zeros(1, 2, test.size, test.size))}
        pictures |= {
            name: to_displayable(lightness, paint(lightness, [index])[0]) for name, paint in candidates.items()
        }
        pictures["true"] = decode_lab(stored)
        left, top = number % _ACROSS * width, number // _ACROSS * height
        for column, (name, lab) in enumerate(pictures.items()):
            picture = Image.fromarray(to_uint8(lab_to_srgb(lab))[0].permute(1, 2, 0).numpy())
            picture = picture.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
            sheet.paste(picture, (left + column * _SIDE, top + _HEADER))
            draw.text((left + column * _SIDE + 4, top + 3), name, "black", ImageFont.load_default(12))
    return sheet


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
