"""FID at the speed of its feature network alone: `python -m benchmarks.evaluation`.

FID compares colorings with photographs, so 5,000 images are 10,000 passes of Inception-v3. Measured on fewer, in turns,
a batch each: evaluation's own path (stored LAB read from shards, brought into gamut as it would be delivered, to 8-bit
sRGB, colorfulness and histograms beside the features), and the network alone on one batch that stays in memory. What
happens once, the Frechet distance between two sets of 5,000, is measured whole; the rest is multiplied, which
`--images 5000` spares. The weights are random: how fast they are does not depend on their values.
"""

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import torchvision
import typer
from torch import nn

from benchmarks.machine import FOLDER, ROOT, in_turns, speedup, write
from components.evaluate.accumulate import delivered, look
from components.evaluate.features import Instruments, Space
from components.preprocess.step import preprocess
from model.color import decode_lab
from model.config import load_config
from model.data.shards import Shards
from model.metrics.features.inception import DIMENSIONS, InceptionV3
from model.metrics.fid import frechet_distance
from model.networks.weights import Weights

_SET = 5000


def main(
    images: Annotated[int, typer.Option(min=32, help="Colorings measured, and as many photographs.")] = 128,
    photos: Annotated[Path, typer.Option(help="Folder of photographs.")] = ROOT / "data",
    result: Annotated[Path, typer.Option(help="Where the figures go.")] = FOLDER / "evaluation.json",
) -> None:
    """Measures the path, the network and the distance; writes what 5,000 images come to."""
    config = load_config(ROOT / "params.yaml")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = inception().to(device)
    size = config.evaluate.batch_size
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        preprocess(photos, Path(scratch) / "dataset", config.preprocess, data_version="benchmark")
        path = Evaluated(Shards.open(Path(scratch) / "dataset", "train"), network, size, device)
        rgb = path.rgb.clone()
        ways = {"path": path, "network": lambda: [network(rgb).cpu() for _ in range(2)]}
        times = in_turns(ways, -(-images // size))
    features = torch.randn(2, _SET, DIMENSIONS, generator=torch.Generator().manual_seed(0)).relu()
    started = time.perf_counter()
    frechet_distance(*features)
    distance = time.perf_counter() - started
    whole = {name: median(wall) / size * _SET for name, (wall, _) in times.items()}
    slower = speedup(times["path"].wall, times["network"].wall)
    share = distance / whole["network"]
    figures = {
        f"FID of {_SET} images / its network alone": round(slower + share, 3),
        "of this, per image": slower,
        "of this, the distance": round(share, 3),
    }
    details = {"images_measured": len(times["path"].wall) * size, "frechet_seconds": round(distance, 2)}
    details |= {f"{name}_cpu_seconds_a_batch": round(median(cpu), 2) for name, (_, cpu) in times.items()}
    details |= {f"{name}_seconds_for_{_SET}": round(value, 1) for name, value in whole.items()}
    write(result, figures, torch=torch.__version__, size=config.preprocess.size, **details)


class Evaluated:
    """A batch of photographs and one of colorings on evaluation's way to the features."""

    def __init__(self, shards: Shards, network: nn.Module, size: int, device: torch.device) -> None:
        self._shards, self._size, self._device, self._start = shards, size, device, 0
        self._instruments = Instruments((Space("kid", "fid", 2, network),), None, {}, {})
        self()

    def __call__(self) -> None:
        indices = [place % len(self._shards) for place in range(self._start, self._start + self._size)]
        self._start += self._size
        stored = torch.from_numpy(self._shards[indices]).to(self._device)
        truth = decode_lab(stored)
        self.rgb = look(truth, self._instruments).rgb
        look(delivered(stored[:, :1], truth[:, 1:]), self._instruments)


def inception() -> InceptionV3:
    """The network of FID's shape, with random weights."""
    torch.manual_seed(0)
    plain = torchvision.models.inception_v3(weights=None, init_weights=False, num_classes=1008, aux_logits=False)
    return InceptionV3(Weights(plain.state_dict(), "random"), "random").eval()


if __name__ == "__main__":
    typer.run(main)
