"""The generator that a training begins with: a new one, or one that was trained before."""

from pathlib import Path

import torch

from model.config import TrainConfig
from model.inference.saved import load_generator
from model.networks.encoders import pretrained_weights
from model.networks.generator import Generator
from model.utils.errors import UserError


def new_generator(config: TrainConfig, cache: Path = Path("workspace/cache/weights")) -> Generator:
    """An untrained generator, drawn from the seed; a pretrained encoder has its own weights.

    Args:
        config: its `generator`, `seed` and `encoder_weights` count.
        cache: folder for downloaded weights.

    Raises:
        UserError: the encoder's weights are missing, damaged or of another network.
    """
    torch.manual_seed(config.seed)
    weights = pretrained_weights(config.generator, config.encoder_weights, cache)
    return Generator(config.generator, weights)


def trained_generator(config: TrainConfig, folder: Path) -> Generator:
    """The generator of a folder that `save_generator` wrote, to be trained further.

    Raises:
        UserError: as `load_generator`; or it is of another shape than `config.generator`, naming the difference.
    """
    generator, _ = load_generator(folder)
    generator.chroma_slope = 0.0  # of what it was; training ends with its own
    found, wanted = generator.config.model_dump(), config.generator.model_dump()
    different = [f"{key}: {found[key]} -> {wanted[key]}" for key in wanted if found[key] != wanted[key]]
    if different:
        raise UserError(
            f"train.init is of another shape than train.generator ({'; '.join(different)}); make them the same, or "
            "leave train.init empty."
        )
    return generator
