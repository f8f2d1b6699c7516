"""Measures the error of colorings that see some true colors, as a user's hints would be."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.tools import FOLDER, write
from components.evaluate.accumulate import to_displayable
from model.color import AB_SCALE, decode_lab, to_network
from model.data.format import Split
from model.data.hints import Hints, reveal
from model.data.shards import Shards
from model.inference.predict import predict_ab
from model.inference.saved import load_generator
from model.metrics.l1_ab import l1_ab
from model.networks.generator import Generator
from model.utils.seeds import seeded

_SIDE = 7  # pixels of a point, as Zhang et al. 2017 evaluate


def main(
    generator: Annotated[Path, typer.Argument(help="Folder of a trained generator.")],
    dataset: Annotated[Path, typer.Argument(help="Dataset folder that preprocess wrote.")],
    split: Annotated[Split, typer.Option(help="Photographs: train, val or test.")] = "val",
    slope: Annotated[float | None, typer.Option(help="Of the chroma correction. Default: the generator's own.")] = None,
    result: Annotated[Path, typer.Option(help="File of figures to write.")] = FOLDER / "hints.json",
) -> None:
    """Measures l1_ab with 0, 1, 5 and 20 points of true color."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network, info = load_generator(generator)
    shards = Shards.open(dataset, split)
    found = l1_ab_with_hints(network.to(device), shards, slope=slope)
    figures = {f"l1_ab with {count} points": round(error, 4) for count, error in found.items()}
    write(result, figures, photographs=len(shards), split=split, weights_sha256=info.weights_sha256)


@torch.inference_mode()
def l1_ab_with_hints(
    generator: Generator,
    shards: Shards,
    counts: Sequence[int] = (0, 1, 5, 20),
    *,
    slope: float | None = None,
    batch_size: int = 32,
) -> dict[int, float]:
    """Measures l1_ab with random true hints: points of 7x7 pixels at uniform places, each with its mean color.

    The points of a smaller count are the first ones of a larger; they and z are the same in every call. The colorings
    are the generator's at the stored size, in gamut, as evaluation scores them.

    Args:
        generator: in eval mode, on the device to be used. One without hints has the same error with any count.
        shards: at least one photograph.
        counts: numbers of points.
        slope: of the chroma correction; None for the generator's own.
        batch_size: photographs at once.

    Returns:
        Mean l1_ab in CIELAB units by number of points.
    """
    device = next(generator.parameters()).device
    total = len(shards)
    z = generator.sample_noise(total, seeded(0, "evaluate", 0))
    labels = torch.from_numpy(shards.label_indices(generator.config.labels))
    reach = shards.size - _SIDE + 1
    corners = (torch.rand(total, max(counts), 2, generator=seeded(0, "hints")) * reach).long()
    squares = torch.cat((corners, torch.full_like(corners[..., :1], _SIDE)), dim=2)
    errors = torch.zeros(len(counts), dtype=torch.float64)
    for start in range(0, total, batch_size):
        part = slice(start, min(start + batch_size, total))
        stored = torch.from_numpy(shards[part]).to(device)
        lab = decode_lab(stored)
        L, ab = to_network(lab)
        noise, y = None if z is None else z[part].to(device), labels[part].to(device)
        for place, count in enumerate(counts):
            chosen = squares[part, :count].to(device)
            hints = reveal(ab, Hints(chosen, torch.zeros(len(lab), dtype=torch.bool, device=device)))
            colored = AB_SCALE * predict_ab(generator, L, noise, y, slope, hints)
            errors[place] += l1_ab(to_displayable(stored[:, :1], colored)[:, 1:], lab[:, 1:]).sum().cpu()
    return dict(zip(counts, (errors / total).tolist(), strict=True))
