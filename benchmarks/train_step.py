"""The training loop on a CPU against the plain way of pix2pix, in turns: `python -m benchmarks.train_step`.

The networks and their sizes are the same: those of Isola et al. 2017 (recipes/pix2pix.yaml), batches of four, at the
paper's 256 pixels and at 128. The plain way is what a tutorial writes: for each picture of each step Pillow opens the
photograph, scales it to 286 pixels, cuts 256 out of it and mirrors it half the time; scikit-image converts it to LAB;
float32 throughout, PyTorch's defaults for memory format and Adam. Ours reads shards, and is measured in float32, the
default on a CPU, and with `train.precision=bfloat16`. None has loader processes: they would take the cores that the
networks use.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from skimage.color import rgb2lab
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, Dataset

from benchmarks.machine import FOLDER, ROOT, in_turns, speedup, write
from components.preprocess.step import preprocess
from model.config import Config, TrainConfig, load_config
from model.data.shards import Shards
from model.networks.discriminator import Discriminator
from model.training.distributed import processes
from model.training.gan import Game
from model.training.loop import _loader
from model.training.start import new_generator

_LEVELS = {256: 8, 128: 7}  # down to one pixel
_KINDS = {
    "convolutions": ("conv",),
    "optimiser": ("adam", "sqrt", "addcdiv", "addcmul", "lerp", "foreach"),
    "normalisation": ("norm",),
    "activations": ("relu", "threshold", "tanh", "dropout", "bernoulli"),
    "copies": ("copy", "cat", "clone", "contiguous", "fill_", "zero_"),
}


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Steps of each way, in turns.")] = 6,
    photos: Annotated[Path, typer.Option(help="Folder of photographs.")] = ROOT / "data",
    result: Annotated[Path, typer.Option(help="Where the figures go.")] = FOLDER / "train_step.json",
) -> None:
    """Measures both ways at 256 and 128 pixels, profiles them at 256, writes the figures."""
    figures, rows, profiles = {}, [], {}
    for crop in (256, 128):
        config = pix2pix(crop)
        with tempfile.TemporaryDirectory() as scratch:
            preprocess(photos, Path(scratch) / "dataset", config.preprocess, data_version="benchmark")
            shards = Shards.open(Path(scratch) / "dataset", "train")
            ways = {
                "plain": plain(config, [photos / path for path in shards.paths]),
                "ours": ours(config.train, shards),
                "ours, bfloat16": ours(config.train.model_copy(update={"precision": "bfloat16"}), shards),
            }
            times = in_turns(ways, rounds if crop == 256 else 2 * rounds)
            if crop == 256:
                profiles = {name: shares(way) for name, way in ways.items()}
        for name in ("ours", "ours, bfloat16"):
            figures[f"{crop} pixels: {name} / plain"] = speedup(times["plain"].wall, times[name].wall)
        for name, (wall, cpu) in times.items():
            per_second = round(config.train.batch_size / median(wall), 3)
            rows.append({"crop": crop, "way": name, "images_per_second": per_second, "seconds": wall, "cpu": cpu})
    write(result, figures, torch=torch.__version__, threads=torch.get_num_threads(), rows=rows, share_of_step=profiles)


def pix2pix(crop: int, *overrides: str) -> Config:
    """The recipe at a size; the paper's 286 : 256 between the stored side and the crop."""
    sizes = (
        f"preprocess.size={crop * 286 // 256}",
        f"train.crop={crop}",
        f"train.generator.levels={_LEVELS.get(crop, 5)}",
        *overrides,
    )
    return load_config(ROOT / "params.yaml", (ROOT / "recipes" / "pix2pix.yaml",), sizes)


def ours(config: TrainConfig, shards: Shards) -> Callable[[], object]:
    """A step of the training loop: the next batch of the loader, played."""
    with processes() as team:
        game = Game(config, new_generator(config), team)
        batches = iter(_loader(config, shards, team, range(100_000)))
    return lambda: game.play(next(batches).stored, 0)


class Photographs(Dataset[tuple[Tensor, Tensor]]):
    """Decoded, scaled, cut and converted whenever they are asked for."""

    def __init__(self, paths: Sequence[Path], size: int, crop: int) -> None:
        self._paths, self._size, self._crop = paths, size, crop

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = Image.open(self._paths[index]).convert("RGB").resize((self._size, self._size), Image.Resampling.BICUBIC)
        top, left = np.random.randint(0, self._size - self._crop + 1, 2)
        image = image.crop((left, top, left + self._crop, top + self._crop))
        if np.random.rand() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        lab = torch.from_numpy(rgb2lab(np.asarray(image)).astype(np.float32)).permute(2, 0, 1)
        return lab[:1] / 50 - 1, lab[1:] / 110


def plain(config: Config, paths: Sequence[Path]) -> Callable[[], object]:
    """A step as pix2pix's tutorials write it."""
    train = config.train
    G, D = new_generator(train).train(), Discriminator(train.discriminator)
    adam_G = torch.optim.Adam(G.parameters(), train.learning_rate, train.betas)
    adam_D = torch.optim.Adam(D.parameters(), train.discriminator_learning_rate, train.betas)
    game, l1 = nn.BCEWithLogitsLoss(), nn.L1Loss()
    loader = DataLoader(Photographs(paths, config.preprocess.size, train.crop), train.batch_size, shuffle=True)
    batches = _endless(loader)

    def step() -> None:
        L, ab = next(batches)
        fake = G(L)
        D.requires_grad_(True)
        adam_D.zero_grad()
        on_real, on_fake = D(L, ab), D(L, fake.detach())
        loss = game(on_real, torch.ones_like(on_real)) + game(on_fake, torch.zeros_like(on_fake))
        (loss / 2).backward()
        adam_D.step()
        D.requires_grad_(False)
        adam_G.zero_grad()
        on_fake = D(L, fake)
        weight = train.objective.reconstruction_weight
        loss = game(on_fake, torch.ones_like(on_fake)) + weight * l1(fake, ab)
        loss.backward()
        adam_G.step()
        loss.item()  # as its progress bar shows it

    return step


def shares(step: Callable[[], object]) -> dict[str, float]:
    """What a step spends its time on, from torch.profiler: the share of each kind of operation, and of what happens
    outside PyTorch: reading, decoding, Python."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        started = time.perf_counter()
        step()
        whole = 1e6 * (time.perf_counter() - started)
    spent: dict[str, float] = defaultdict(float)
    for event in profiled.key_averages():
        name = event.key.lower()
        kinds = (kind for kind, parts in _KINDS.items() if any(part in name for part in parts))
        spent[next(kinds, "other operations")] += event.self_cpu_time_total / whole
    spent["outside PyTorch"] = max(0.0, 1 - sum(spent.values()))
    return {kind: round(share, 3) for kind, share in sorted(spent.items(), key=lambda item: -item[1])}


def _endless(loader: "DataLoader[tuple[Tensor, Tensor]]") -> Iterator[list[Tensor]]:
    while True:
        yield from loader


if __name__ == "__main__":
    typer.run(main)
