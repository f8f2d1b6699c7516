"""Measures a training step: on a CPU against plain pix2pix, on a GPU against the rate of matrix products.

On a CPU the networks and their sizes are those of Isola et al. 2017 (recipes/pix2pix.yaml), batches of four, at the
paper's 256 pixels and at 128. The plain way is what a tutorial writes: for each picture of each step Pillow opens the
photograph, scales it to 286 pixels, cuts 256 out of it and mirrors it half the time; scikit-image converts it to LAB;
float32, PyTorch's defaults for memory format and Adam. Ours reads shards, in float32, the default on a CPU, and with
`train.precision=bfloat16`. None has loader processes, which would take the networks' cores.

On a GPU the networks, batch and objective are params.yaml's, and the batch stays in memory (`reading` measures the
rest). It adds one means of speed after the other: TF32, bfloat16 (what training does), torch.compile, CUDA graphs.
Each figure is in images a second; a step's floating-point operations over its time give the share of the card's own
rate.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from skimage.color import rgb2lab
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.tools import FOLDER, ROOT, in_turns, speedup, write
from components.preprocess.step import preprocess
from model.color import decode_lab, to_network
from model.config import TrainConfig
from model.data.batches import Batch
from model.data.shards import Shards
from model.networks.discriminator import Discriminator
from model.training.distributed import join_processes
from model.training.gan import GanTrainer
from model.training.loader import batches
from model.training.start import new_generator
from pipeline.config import Config, load_config

_LEVELS = {256: 8, 128: 7}  # down to one pixel
_SIDE = 8192  # of the matrices whose product measures the card
_KINDS = {
    "convolutions": ("conv",),
    "optimiser": ("adam", "sqrt", "addcdiv", "addcmul", "lerp", "foreach"),
    "normalisation": ("norm",),
    "activations": ("relu", "threshold", "tanh", "dropout", "bernoulli"),
    "copies": ("copy", "cat", "clone", "contiguous", "fill_", "zero_"),
}


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Timed steps of each way; on a GPU, blocks of 10 steps.")] = 6,
    photos: Annotated[Path, typer.Option(help="Folder of photographs; a GPU needs none.")] = ROOT / "data",
    out: Annotated[Path, typer.Option(help="Folder for train_step.json or train_step_gpu.json.")] = FOLDER,
) -> None:
    """Measures on the GPU where there is one, otherwise on the CPU; writes the figures."""
    if torch.cuda.is_available():
        on_gpu(rounds, out / "train_step_gpu.json")
    else:
        on_cpu(rounds, photos, out / "train_step.json")


def on_cpu(rounds: int, photos: Path, result: Path) -> None:
    """Measures both ways at 256 and 128 pixels and profiles them at 256."""
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
    """Loads recipe pix2pix at a size; crops are 256 / 286 of the stored side, as in the paper."""
    sizes = (
        f"preprocess.size={crop * 286 // 256}",
        f"train.crop={crop}",
        f"train.generator.levels={_LEVELS.get(crop, 5)}",
        *overrides,
    )
    return load_config(ROOT / "params.yaml", (ROOT / "recipes" / "pix2pix.yaml",), sizes)


def ours(config: TrainConfig, shards: Shards) -> Callable[[], object]:
    """Returns a step of the training loop, which takes the loader's next batch."""
    with join_processes() as dist:
        trainer = GanTrainer(config, new_generator(config), dist)
        endless = config.model_copy(update={"images": 100_000 * config.batch_size})
        source = iter(batches(endless, shards, dist))
    return lambda: trainer.step(next(source), config.warmup_images)


class Photographs(Dataset[tuple[Tensor, Tensor]]):
    """Decodes, scales, crops and converts a photograph each time it is asked for."""

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
    """Returns a step as tutorials of pix2pix write it."""
    train = config.train
    G, D = new_generator(train).train(), Discriminator(train.discriminator)
    adam_G = torch.optim.Adam(G.parameters(), train.learning_rate, train.betas)
    adam_D = torch.optim.Adam(D.parameters(), train.discriminator_learning_rate, train.betas)
    adversarial, l1 = nn.BCEWithLogitsLoss(), nn.L1Loss()
    loader = DataLoader(Photographs(paths, config.preprocess.size, train.crop), train.batch_size, shuffle=True)
    batches = _endless(loader)

    def step() -> None:
        L, ab = next(batches)
        fake = G(L)
        D.requires_grad_(True)
        adam_D.zero_grad()
        on_real, on_fake = D(L, ab), D(L, fake.detach())
        loss = adversarial(on_real, torch.ones_like(on_real)) + adversarial(on_fake, torch.zeros_like(on_fake))
        (loss / 2).backward()
        adam_D.step()
        D.requires_grad_(False)
        adam_G.zero_grad()
        on_fake = D(L, fake)
        weight = train.objective.reconstruction_weight
        loss = adversarial(on_fake, torch.ones_like(on_fake)) + weight * l1(fake, ab)
        loss.backward()
        adam_G.step()
        loss.item()  # as its progress bar shows it

    return step


def shares(step: Callable[[], object]) -> dict[str, float]:
    """Profiles a step: the share of its time in each kind of operation and outside PyTorch (reading, decoding)."""
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


@dataclass(frozen=True)
class Setting:
    """Names the means of speed that a step uses on a GPU."""

    name: str
    tf32: bool = True
    precision: str = "bfloat16"
    compile_mode: str = ""
    """Mode of torch.compile; empty: not compiled."""


SETTINGS = (
    Setting("float32", tf32=False, precision="float32"),
    Setting("+ TF32", precision="float32"),
    Setting("+ bfloat16"),
    Setting("+ torch.compile", compile_mode="default"),
    Setting("+ CUDA graphs", compile_mode="reduce-overhead"),
)


def on_gpu(rounds: int, result: Path) -> None:
    """Measures every setting; a setting that fails is noted, and the others' figures stand."""
    config = load_config(ROOT / "params.yaml").train
    stored = batch(config).cuda()
    a, b = torch.randn(2, _SIDE, _SIDE, device="cuda", dtype=torch.bfloat16)
    rate = 2 * _SIDE**3 / min(_seconds(lambda: a @ b, rounds))
    conversion = median(_seconds(lambda: to_network(decode_lab(stored)), rounds))
    flop = operations(config)
    figures, rows = {}, []
    for setting in SETTINGS:
        try:
            step = median(_seconds(training_step(config, setting, stored), rounds))
        except Exception as error:  # a later setting may work all the same
            rows.append({"setting": setting.name, "failed": f"{type(error).__name__}: {error}"[:500]})
            print(f"{setting.name} failed: {error}")
            continue
        finally:
            torch.compiler.reset()
            torch.cuda.empty_cache()
        figures[f"{setting.name}: images/s"] = round(config.batch_size / step, 1)
        figures[f"{setting.name}: share of bfloat16 matrix products' rate"] = round(flop / step / rate, 3)
        rows.append({"setting": setting.name, "seconds": step, "tflops": flop / step / 1e12})
    details = {"matrix_product_tflops": rate / 1e12, "flop_per_step": flop, "lab_conversion_seconds": conversion}
    write(result, figures, device=torch.cuda.get_device_name(), torch=torch.__version__, **details, rows=rows)


def training_step(config: TrainConfig, setting: Setting, stored: Tensor) -> Callable[[], object]:
    """Returns a step of the training loop after its warm-up phase, always on the same batch.

    Args:
        config: section `train`.
        setting: means of speed.
        stored: (batch_size, 3, crop, crop) uint8.
    """
    torch.set_float32_matmul_precision("high" if setting.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = setting.tf32
    torch.backends.cudnn.benchmark = True
    config = config.model_copy(update={"precision": setting.precision})
    with join_processes() as dist:
        trainer = GanTrainer(config, new_generator(config), dist)
    if setting.compile_mode:
        for network in (trainer._generator, trainer._discriminator):
            if network is not None:
                network.compile(mode=setting.compile_mode)
    held = Batch(stored, torch.full((len(stored),), -1))
    return lambda: trainer.step(held, config.warmup_images)


def batch(config: TrainConfig) -> Tensor:
    """Makes a batch of noise: (batch_size, 3, crop, crop) uint8 LAB."""
    return torch.randint(60, 190, (config.batch_size, 3, config.crop, config.crop), dtype=torch.uint8)


def operations(config: TrainConfig) -> int:
    """Counts the floating-point operations of a training step, forward and backward."""
    step: Any = training_step(config, SETTINGS[0], batch(config))
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def _seconds(step: Callable[[], object], rounds: int, block: int = 10) -> list[float]:
    """Times a call on the GPU: seconds in each round of `block` calls, after one round that is not counted."""
    seconds = []
    for turn in range(rounds + 1):
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(block):
            step()
        torch.cuda.synchronize()
        if turn:
            seconds.append((time.perf_counter() - started) / block)
    return seconds
