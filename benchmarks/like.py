"""Measures what a reference of the same roll, `colorize photo --like`, does to the error of colorings."""

from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.tools import FOLDER, write
from components.evaluate.accumulate import to_displayable
from model.color import AB_SCALE, decode_lab, to_network
from model.data.format import Split
from model.data.shards import Shards
from model.inference.predict import predict_ab
from model.inference.reference import Reference
from model.inference.saved import load_generator
from model.metrics.l1_ab import l1_ab
from model.networks.generator import Generator
from model.utils.seeds import seeded


def main(
    generator: Annotated[Path, typer.Argument(help="Folder of a trained generator that takes hints.")],
    dataset: Annotated[Path, typer.Argument(help="Dataset folder that preprocess wrote.")],
    split: Annotated[Split, typer.Option(help="Photographs: train, val or test.")] = "test",
    limit: Annotated[int | None, typer.Option(min=2, help="Number of photographs. Default: all.")] = None,
    result: Annotated[Path, typer.Option(help="File of figures to write.")] = FOLDER / "like.json",
) -> None:
    """Measures l1_ab of right halves: alone, like the left half, and like the left half of another photograph.

    The halves stand for two photographs of one roll: the same scene and light, other things in it.
    """
    network, info = load_generator(generator)
    shards = Shards.open(dataset, split)
    count = min(limit or len(shards), len(shards))
    figures = {name: round(error, 4) for name, error in errors_of_halves(network, shards, count).items()}
    write(result, figures, photographs=count, split=split, weights_sha256=info.weights_sha256)


@torch.inference_mode()
def errors_of_halves(generator: Generator, shards: Shards, count: int) -> dict[str, float]:
    """Returns the mean l1_ab of the right halves by kind of reference, in CIELAB units.

    Args:
        generator: in eval mode, on the CPU.
        shards: photographs.
        count: number of them to measure, two or more.
    """
    lefts, rights = [], []
    for number in range(count):
        stored = torch.from_numpy(shards[number : number + 1])
        left, right = stored.chunk(2, dim=-1)
        lefts.append(Reference.read(generator, decode_lab(left)[0]))
        rights.append(right)
    noise = generator.sample_noise(1, seeded(0, "evaluate", 0))
    sums = dict.fromkeys(("alone", "like the other half", "like another photograph"), 0.0)
    for number, stored in enumerate(rights):
        lab = decode_lab(stored)
        L, _ = to_network(lab)
        references = None, lefts[number], lefts[number - 1]
        for name, reference in zip(sums, references, strict=True):
            hints = None if reference is None else reference.hints(generator, lab[0, :1])[None]
            colored = AB_SCALE * predict_ab(generator, L, noise, hints=hints)
            sums[name] += l1_ab(to_displayable(stored[:, :1], colored)[:, 1:], lab[:, 1:]).item()
    return {name: total / count for name, total in sums.items()}
