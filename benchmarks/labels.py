"""What a label that means something does: the sample photographs by their light. `python -m benchmarks.labels`.

labels/labels.csv says of 402 of the sample photographs whether they were taken by day, under an overcast sky, at dusk
(or dawn), at night, indoors or underwater; the rest, animals and flowers mostly, have no label. It was made by looking
at thumbnails of 150 pixels, one judgement each. Trains recipe tried/labels on top of best, then colors the test
photographs without a label and with every one. Writes labels.json and labels.jpg.
"""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import torch
import typer
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from components.evaluate.accumulate import delivered
from components.preprocess.step import preprocess
from components.shared.machine.progress import progress
from components.shared.machine.workspace import workspace
from model.color import AB_SCALE, decode_lab, lab_to_srgb, to_uint8
from model.config import TrainConfig, load_config
from model.data.batches import seeded
from model.data.shards import Shards
from model.inference.predict import predict_ab
from model.metrics.l1_ab import l1_ab
from model.networks.generator import Generator
from model.training.loop import train
from pipeline import ROOT
from pipeline.data.versions import ensure_data, folder_version

OUT = ROOT / "benchmarks"
RECIPES = (ROOT / "recipes" / "best.yaml", ROOT / "recipes" / "tried" / "labels.yaml")
OUTDOORS = ("day", "overcast", "dusk", "night")
_PICTURED = 3  # test photographs of each light


def main() -> None:
    """Trains, scores, draws."""
    config = load_config(ROOT / "params.yaml", RECIPES)
    folder = workspace() / "benchmarks" / "labels"
    photographs, dataset = _photographs(folder / "photographs"), folder / "dataset"
    summary = preprocess(photographs, dataset, config.preprocess, data_version=folder_version(photographs))
    started = time.monotonic()
    generator = _trained(config.train, Shards.open(dataset, "train"), folder / "checkpoints")
    seconds = time.monotonic() - started
    test, names = Shards.open(dataset, "test"), generator.config.labels
    stored = torch.from_numpy(test[:])
    truth, own = decode_lab(stored), torch.from_numpy(test.label_indices(names))
    colored = {"no label": _colored(generator, stored, -1)}
    colored |= {name: _colored(generator, stored, place) for place, name in enumerate(names)}
    labelled, rows = own >= 0, torch.arange(len(test))
    errors = torch.stack([l1_ab(colored[name][:, 1:], truth[:, 1:]) for name in names])
    right = errors[own, rows][labelled]
    figures = {
        "machine": f"CPU, {torch.get_num_threads()} threads",
        "date": time.strftime("%Y-%m-%d"),
        "images": config.train.images,
        "seconds": round(seconds),
        "photographs": summary["kept"],
        "labels": summary["labels"],
        "test_photographs": {name: int((own == place).sum()) for place, name in enumerate(names)},
        "l1_ab": {
            "right label": right.mean().item(),
            "no label": l1_ab(colored["no label"][:, 1:], truth[:, 1:])[labelled].mean().item(),
            "wrong label": ((errors.sum(dim=0)[labelled] - right) / (len(names) - 1)).mean().item(),
            "gray": truth[:, 1:].abs().mean(dim=(1, 2, 3))[labelled].mean().item(),
        },
        "right_label_is_nearest": {
            "photographs": int((errors.argmin(dim=0) == own)[labelled].sum()),
            "of": int(labelled.sum()),
            "by_chance": int(labelled.sum()) / len(names),
        },
        "mean_ab": _mean_ab(colored, truth, own, names),
    }
    figures["ratio_of_l1_ab_right_to_none"] = figures["l1_ab"]["right label"] / figures["l1_ab"]["no label"]
    (OUT / "labels.json").write_text(json.dumps(_rounded(figures), indent=2) + "\n", encoding="utf-8")
    _sheet(colored, truth, own, names).save(OUT / "labels.jpg", quality=88)
    print(json.dumps(_rounded(figures), indent=2))


def _photographs(folder: Path) -> Path:
    """The sample photographs with the labels among them."""
    ensure_data(ROOT)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "data", folder)
    shutil.copy(OUT / "labels" / "labels.csv", folder)
    return folder


def _trained(config: TrainConfig, shards: Shards, checkpoints: Path) -> Generator:
    """As the train step, without MLflow; goes on from its last checkpoint."""
    with progress(config.images, "train", unit="images") as advance:
        identity = {"data_version": shards.data_version}
        return train(config, shards, checkpoints, identity, on_step=lambda _: advance(config.batch_size)).generator


@torch.inference_mode()
def _colored(generator: Generator, stored: Tensor, label: int) -> Tensor:
    """(N, 3, S, S) CIELAB as a user would get it; the same z for a photograph whatever its label."""
    L, z = stored[:, :1].float() / 127.5 - 1, generator.sample_noise(len(stored), seeded(0, "labels"))
    assert z is not None
    y = torch.full((len(L),), label)
    parts = [slice(start, start + 16) for start in range(0, len(L), 16)]
    ab = torch.cat([predict_ab(generator, L[part], z[part], y[part]) for part in parts]) * AB_SCALE
    return delivered(stored[:, :1], ab)


def _mean_ab(
    colored: dict[str, Tensor], truth: Tensor, own: Tensor, names: tuple[str, ...]
) -> dict[str, dict[str, list[float]]]:
    """Of the same outdoor photographs under every label; and of the photographs that have the label, as they are."""
    outdoors = torch.isin(own, torch.tensor([names.index(name) for name in OUTDOORS]))
    means = {}
    for name, lab in colored.items():
        means[name] = {"outdoor photographs colored so": _mean(lab[outdoors])}
        if name in names:
            means[name]["such photographs"] = _mean(truth[own == names.index(name)])
    return means


def _mean(lab: Tensor) -> list[float]:
    ab: list[float] = lab[:, 1:].mean(dim=(0, 2, 3)).tolist()
    return ab


def _sheet(colored: dict[str, Tensor], truth: Tensor, own: Tensor, names: tuple[str, ...]) -> Image.Image:
    """Rows: test photographs of each light. Columns: gray, without a label, with each, true."""
    gray = torch.cat((truth[:, :1], torch.zeros_like(truth[:, 1:])), dim=1)
    columns = {"gray": gray, **colored, "true": truth}
    chosen = [int(index) for place in range(len(names)) for index in (own == place).nonzero()[:_PICTURED]]
    side, header, left = truth.shape[-1], 20, 90
    sheet = Image.new("RGB", (left + len(columns) * side, header + len(chosen) * side), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column, (title, lab) in enumerate(columns.items()):
        draw.text((left + column * side + 4, 2), title, "black", font)
        for row, index in enumerate(chosen):
            pixels = np.ascontiguousarray(to_uint8(lab_to_srgb(lab[index])).permute(1, 2, 0).numpy())
            sheet.paste(Image.fromarray(pixels), (left + column * side, header + row * side))
    for row, index in enumerate(chosen):
        draw.text((4, header + row * side + side // 2), names[int(own[index])], "black", font)
    return sheet


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, 3) if isinstance(value, float) else value


if __name__ == "__main__":
    typer.run(main)
