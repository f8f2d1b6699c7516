"""Compares the champion with pix2pix's recipe trained for the same time on the same machine.

Both see the same training photographs at the same size and are scored on the same test photographs, beside gray and the
mean color by lightness. The benchmark times steps of both in turns, since the champion may have been trained on a busy
machine; the speeds give the champion's training time and the number of images that pix2pix's recipe sees in that time.
Writes metrics.json, report.html and contact_sheet.jpg (every test photograph: gray, pix2pix, champion, true) to
benchmarks/champion/.
"""

import json
import os
import shutil
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.tools import FOLDER, ROOT
from benchmarks.train_step import batch
from components.evaluate.accumulate import to_displayable
from components.evaluate.candidates import GeneratorCandidate
from components.evaluate.step import evaluate
from components.preprocess.step import preprocess
from components.train.step import train
from model.color import decode_lab, lab_to_srgb, to_uint8
from model.config import TrainConfig
from model.data.batches import Batch
from model.data.shards import Shards
from model.inference.saved import load_generator
from model.training.distributed import join_processes
from model.training.gan import GanTrainer
from model.training.start import new_generator
from model.utils.files import folder_aside
from pipeline.config import Config, load_config

OUT = FOLDER / "champion"
BEST = ROOT / "recipes" / "best.yaml"
_SIDE = 112  # pixels of a picture in the contact sheet
_ACROSS = 3  # photographs side by side
_ROUNDS = 5
_IMAGES = 64  # in each round, a multiple of both batch sizes


def main(
    champion: Annotated[Path, typer.Option(help="Generator folder of the champion.")] = ROOT / "champion",
) -> None:
    """Trains pix2pix's recipe for as long, scores both, draws every test photograph."""
    champion = champion.resolve()
    os.chdir(ROOT)
    best = load_config(ROOT / "params.yaml", (BEST,))
    ours = best.train
    begins = (0, ours.warmup_images, ours.game_begins, ours.images)
    lengths = [(begin, end - begin) for begin, end in pairwise(begins) if end > begin]
    *speeds, pix2pix = _speeds(*((ours, begin) for begin, _ in lengths), (_rival(best, 1).train, 1))
    seconds = sum(images / speed for (_, images), speed in zip(lengths, speeds, strict=True))
    images = round(seconds * pix2pix / 100) * 100
    print(f"pix2pix's recipe: {images} images in about {seconds:.0f} s", flush=True)
    rival = _rival(best, images)
    with tempfile.TemporaryDirectory() as scratch, folder_aside(OUT, marker="metrics.json") as aside:
        dataset, generator = Path(scratch) / "dataset", Path(scratch) / "generator"
        preprocess(ROOT / "data", dataset, rival.preprocess, data_version="benchmark")
        train(dataset, generator, Path(scratch) / "checkpoints", rival.train)
        trained = json.loads((generator / "training.json").read_text(encoding="utf-8"))
        scored = aside / "scored"
        uri = os.path.relpath(champion)  # this machine's folders are no part of the figures
        metrics = evaluate(dataset, generator, scored, best.evaluate, uri)
        shutil.copyfile(scored / "report.html", aside / "report.html")
        shutil.rmtree(scored)
        metrics = {"pix2pix": {name: v for name, v in metrics.items() if isinstance(v, float)}, **metrics}
        metrics = {name: value for name, value in metrics.items() if not isinstance(value, float)}
        metrics["seconds"] = round(seconds)
        metrics["images"] = {"champion": best.train.images, "pix2pix": images}
        metrics["machine"] = trained["device"]
        (aside / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        test = Shards.open(dataset, "test")
        sheet = contact_sheet(test, {"pix2pix recipe": generator, "champion": champion}, best.evaluate.seed)
        sheet.save(aside / "contact_sheet.jpg", quality=85)
    for who in ("champion", "pix2pix", "gray", "mean_by_lightness"):
        print(who, {name: round(value, 4) for name, value in metrics[who].items() if value is not None})


def _rival(best: Config, images: int) -> Config:
    """Loads pix2pix's recipe at the champion's sizes, for a number of images."""
    sizes = (
        f"preprocess.size={best.preprocess.size}",
        f"train.crop={best.train.crop}",
        f"train.generator.levels={(best.train.crop & -best.train.crop).bit_length() - 1}",  # as far down as it halves
        f"train.images={images}",
        f"train.seed={best.train.seed}",
        "train.checkpoint_every=2000",
        "train.sample_every=4000",
        "train.log_every=400",
    )
    return load_config(ROOT / "params.yaml", (ROOT / "recipes" / "pix2pix.yaml",), sizes)


def _speeds(*trainings: tuple[TrainConfig, int]) -> list[float]:
    """Returns images a second of each training's steps at a position: the median of rounds in turns."""
    rounds: list[list[float]] = [[] for _ in trainings]
    with join_processes() as dist:
        trainers = [GanTrainer(config, new_generator(config), dist) for config, _ in trainings]
        for number in range(_ROUNDS + 1):
            for trainer, (config, at), seconds in zip(trainers, trainings, rounds, strict=True):
                held = Batch(batch(config), torch.full((config.batch_size,), -1))
                started = time.perf_counter()
                for _ in range(_IMAGES // config.batch_size):
                    trainer.step(held, at)
                if number:  # the first round warms up
                    seconds.append(time.perf_counter() - started)
    return [_IMAGES / median(seconds) for seconds in rounds]


def contact_sheet(test: Shards, models: dict[str, Path], seed: int) -> Image.Image:
    """Draws every photograph: gray, each model's coloring, true."""
    stored = torch.from_numpy(test[:])
    lab = decode_lab(stored)
    columns = {"gray": _pixels(torch.cat((lab[:, :1], torch.zeros_like(lab[:, 1:])), dim=1))}
    for name, folder in models.items():
        candidate = GeneratorCandidate(load_generator(folder)[0], test, 1, seed)
        parts = [range(start, min(start + 16, len(test))) for start in range(0, len(test), 16)]
        ab = torch.cat([candidate(stored[list(part), :1], part)[0] for part in parts])
        columns[name] = _pixels(to_displayable(stored[:, :1], ab))
    columns["true"] = _pixels(lab)
    rows = -(-len(test) // _ACROSS)
    header = 20
    sheet = Image.new("RGB", (_ACROSS * (len(columns) * _SIDE + 12), rows * (_SIDE + 4) + header), "white")
    draw = ImageDraw.Draw(sheet)
    for index in range(len(test)):
        left = (index % _ACROSS) * (len(columns) * _SIDE + 12)
        for place, (name, column) in enumerate(columns.items()):
            if index < _ACROSS:
                draw.text((left + place * _SIDE + 4, 4), name, "black", ImageFont.load_default(12))
            picture = Image.fromarray(column[index]).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
            sheet.paste(picture, (left + place * _SIDE, header + (index // _ACROSS) * (_SIDE + 4)))
    return sheet


def _pixels(lab: torch.Tensor) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = to_uint8(lab_to_srgb(lab)).permute(0, 2, 3, 1).numpy()
    return pixels
