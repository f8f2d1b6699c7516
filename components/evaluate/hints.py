"""The error of colorings that see some true colors: `python -m components.evaluate.hints GENERATOR DATASET`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import torch

from model.color import AB_SCALE, decode_lab, into_gamut, to_network
from model.data.format import Split
from model.data.hints import Hints, reveal
from model.data.shards import Shards
from model.inference.predict import predict_ab
from model.inference.saved import load_generator
from model.metrics.l1_ab import l1_ab
from model.networks.generator import Generator
from model.utils.seeds import seeded

_SIDE = 7  # pixels of a point, as Zhang et al. 2017 evaluate


@torch.inference_mode()
def l1_ab_with_hints(
    generator: Generator,
    shards: Shards,
    counts: Sequence[int] = (0, 1, 5, 20),
    *,
    slope: float | None = None,
    photographs: int = 10000,
    batch_size: int = 32,
    seed: int = 0,
) -> dict[int, float]:
    """Measures l1_ab with random true hints: points of 7x7 pixels at uniform places, each with its mean color.

    The points of a smaller count are the first ones of a larger; they and z depend on the seed and the photograph
    alone. The colorings are the generator's at the stored size, in gamut, as evaluation scores them.

    Args:
        generator: in eval mode, on the device to be used. One without hints has the same error with any count.
        shards: at least one photograph.
        counts: numbers of points.
        slope: of the chroma correction; None for the generator's own.
        photographs: largest number of scored photographs, the first ones.
        batch_size: photographs at once.
        seed: of places and noise.

    Returns:
        Mean l1_ab in CIELAB units by number of points.
    """
    device = next(generator.parameters()).device
    total = min(len(shards), photographs)
    z = generator.sample_noise(total, seeded(seed, "evaluate", 0))
    labels = torch.from_numpy(shards.label_indices(generator.config.labels))
    reach = shards.size - _SIDE + 1
    corners = (torch.rand(total, max(counts), 2, generator=seeded(seed, "hints")) * reach).long()
    squares = torch.cat((corners, torch.full_like(corners[..., :1], _SIDE)), dim=2)
    errors = torch.zeros(len(counts), dtype=torch.float64)
    for start in range(0, total, batch_size):
        part = slice(start, min(start + batch_size, total))
        lab = decode_lab(torch.from_numpy(shards[part]).to(device))
        L, ab = to_network(lab)
        noise, y = None if z is None else z[part].to(device), labels[part].to(device)
        for place, count in enumerate(counts):
            chosen = squares[part, :count].to(device)
            hints = reveal(ab, Hints(chosen, torch.zeros(len(lab), dtype=torch.bool, device=device)))
            colored = AB_SCALE * predict_ab(generator, L, noise, y, slope, hints)
            errors[place] += l1_ab(into_gamut(torch.cat((lab[:, :1], colored), dim=1))[:, 1:], lab[:, 1:]).sum().cpu()
    return dict(zip(counts, (errors / total).tolist(), strict=True))


def main() -> None:
    """Prints the error by number of points as JSON."""
    parser = argparse.ArgumentParser(description=l1_ab_with_hints.__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("generator", type=Path, help="folder of a trained generator")
    parser.add_argument("dataset", type=Path, help="output folder of preprocess")
    parser.add_argument("--split", choices=get_args(Split), default="val")
    parser.add_argument("--slope", type=float, help="of the chroma correction (default: the generator's own)")
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = load_generator(given.generator)[0].to(device)
    found = l1_ab_with_hints(generator, Shards.open(given.dataset, given.split), slope=given.slope)
    print(json.dumps({f"l1_ab_hints_{count}": error for count, error in found.items()}, indent=2))


if __name__ == "__main__":
    main()
