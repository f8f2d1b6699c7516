"""Start of a training: the generator to begin with, and the check that configuration and dataset fit together."""

from pathlib import Path

import torch

from model.config import GeneratorConfig, TrainConfig
from model.data.shards import Shards
from model.inference.saved import load_generator
from model.networks.discriminator import smallest_side
from model.networks.encoders import pretrained_weights
from model.networks.generator import Generator
from model.training.checkpoint import read_checkpoint
from model.training.distributed import ProcessGroup
from model.training.meters import below
from model.utils.errors import UserError
from model.utils.settings import check


def new_generator(config: TrainConfig, cache: Path = Path("workspace/cache/weights")) -> Generator:
    """Returns an untrained generator, drawn from the seed; a pretrained encoder has its own weights.

    Args:
        config: its `generator`, `seed` and `encoder_weights` count.
        cache: folder for downloaded weights.

    Raises:
        UserError: the encoder's weights are missing, damaged or of another network.
    """
    torch.manual_seed(config.seed)
    weights = pretrained_weights(config.generator, config.encoder_weights, cache)
    return Generator(config.generator, weights)


def trained_generator(config: TrainConfig, path: Path) -> Generator:
    """Returns a trained generator, to train it further.

    Args:
        config: its `generator` must have the same shape, but may add hints, which have yet to be learned.
        path: a folder that `save_generator` wrote, or a checkpoint, whose generator for use is taken.

    Raises:
        UserError: as `load_generator`; the checkpoint is damaged; the shapes differ, naming the differences.
    """
    generator = _of_checkpoint(path) if path.is_file() else load_generator(path)[0]
    generator.chroma_slope = 0.0  # the new training calibrates its own
    if config.generator.hints and not generator.config.hints:
        torch.manual_seed(config.seed)
        generator = _with_hints(generator)
    found, wanted = generator.config.model_dump(), config.generator.model_dump()
    different = [f"{key}: {found[key]} -> {wanted[key]}" for key in wanted if found[key] != wanted[key]]
    if different:
        raise UserError(
            f"train.init is of another shape than train.generator ({'; '.join(different)}); make them the same, or "
            "leave train.init empty."
        )
    return generator


def _with_hints(generator: Generator) -> Generator:
    """Returns the same generator with hints; it colors as before, with and without them."""
    extended = Generator(generator.config.model_copy(update={"hints": True}))
    extended.load_state_dict(generator.state_dict(), strict=False)
    return extended.eval()


def _of_checkpoint(path: Path) -> Generator:
    try:
        checkpoint = read_checkpoint(path)
    except ValueError as error:
        raise UserError(f"train.init: {path} is no whole checkpoint ({error}); choose another one.") from None
    described = {"hints": False} | checkpoint.identity["config"]["generator"]  # older checkpoints lack the key
    generator = Generator(check(GeneratorConfig, described, str(path)))
    generator.load_state_dict(below(checkpoint.tensors, "ema") or below(checkpoint.tensors, "generator"))
    return generator.eval()


def check_fits(config: TrainConfig, shards: Shards, dist: ProcessGroup) -> None:
    """Checks that a training is possible on these photographs with these processes.

    Raises:
        UserError: it is not; names the key and its value.
    """
    if not len(shards):
        raise UserError("train: the dataset holds no photographs for training; give preprocess more of them.")
    if len(shards) < config.shuffle.lanes:
        raise UserError(
            f"train.shuffle.lanes is {config.shuffle.lanes}, but the dataset has {len(shards)} photographs "
            "for training."
        )
    if int(config.crop * config.zoom) > shards.size:
        raise UserError(
            f"train.crop is {config.crop} and train.zoom {config.zoom:g}, but the dataset's photographs have "
            f"{shards.size} pixels a side."
        )
    if labels := config.generator.labels:
        known = {label for label in shards.labels if label is not None}
        if unknown := [label for label in labels if label not in known]:
            raise UserError(
                f"train.generator.labels names {', '.join(unknown)}, but the labels of the photographs for training "
                f"are {', '.join(sorted(known)) or 'none at all: see preprocess.labels'}."
            )
    if config.batch_size % dist.count:
        raise UserError(
            f"train.batch_size is {config.batch_size}; it must be a multiple of the {dist.count} processes."
        )
    field = config.discriminator.receptive_field
    if config.objective.adversarial != "none" and config.crop < smallest_side(field):
        raise UserError(
            f"train.crop is {config.crop}; a discriminator with a receptive field of {field} needs at least "
            f"{smallest_side(field)} pixels."
        )
