"""Trained generators as files: weights in safetensors, description in JSON, and the SHA-256 that ties them together."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from model.config import GeneratorConfig
from model.networks.generator import Generator
from model.utils.errors import Damaged, UserError
from model.utils.files import write_aside
from model.utils.settings import check

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class GeneratorInfo:
    """Stores how a generator was trained and the SHA-256 of its weights' file.

    Attributes:
        crop: side of the training crops in pixels.
        size: side of the photographs in pixels.
        images: images seen in training.
        weights_sha256: SHA-256 of generator.safetensors.
    """

    crop: int
    size: int
    images: int
    weights_sha256: str


def save_generator(folder: Path, generator: Generator, *, crop: int, size: int, images: int) -> GeneratorInfo:
    """Writes generator.safetensors and generator.json into a folder, which is created if missing.

    Weights are rounded to half precision (IEEE 754 binary16), so that evaluation and use see the same weights. Their
    file also holds the configuration, so that generators that color differently have different SHA-256.
    """
    config = generator.config.model_copy(update={"temperature": generator.temperature})
    use = {"generator": config.model_dump(mode="json"), "chroma_slope": generator.chroma_slope}
    halves = {name: _half(tensor) for name, tensor in generator.state_dict().items()}
    weights = safetensors.torch.save(halves, {"use": json.dumps(use, sort_keys=True)})
    info = GeneratorInfo(crop, size, images, hashlib.sha256(weights).hexdigest())
    folder.mkdir(parents=True, exist_ok=True)
    write_aside(folder / "generator.safetensors", weights)
    description = {
        "schema_version": SCHEMA_VERSION,
        **use,
        "crop": crop,
        "size": size,
        "images": images,
        "weights_sha256": info.weights_sha256,
    }
    write_aside(folder / "generator.json", (json.dumps(description, indent=2) + "\n").encode())
    return info


def load_generator(folder: Path) -> tuple[Generator, GeneratorInfo]:
    """Reads a folder that `save_generator` wrote; returns the generator on the CPU in eval mode.

    Raises:
        UserError: a file is missing, does not fit the other, or has an unknown schema version.
        Damaged: the weights' SHA-256 differs.
    """
    description_path, weights_path = folder / "generator.json", folder / "generator.safetensors"
    try:
        description = json.loads(description_path.read_bytes())
        weights = weights_path.read_bytes()
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; {folder} holds no trained generator.") from None
    except ValueError:
        raise UserError(f"{description_path} is not valid JSON; train again or fetch it again.") from None
    version = description.get("schema_version") if isinstance(description, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(f"{description_path}: schema_version is {version!r}; this version reads {SCHEMA_VERSION}.")
    try:
        info = GeneratorInfo(*(description[key] for key in ("crop", "size", "images", "weights_sha256")))
        config = description["generator"]
        if isinstance(config, dict):
            older = {"labels": [], "test_time_augmentation": False, "hints": False, "output": "regression"}
            config = older | {"temperature": 0.38} | config  # keys that older files lack
    except KeyError as error:
        raise UserError(f"{description_path}: {error.args[0]} is missing; train again or fetch it again.") from None
    if hashlib.sha256(weights).hexdigest() != info.weights_sha256:
        raise Damaged(
            f"{weights_path} is damaged: its SHA-256 is not the one in generator.json; train again or fetch it again.",
            folder,
        )
    generator = Generator(check(GeneratorConfig, config, str(description_path)))
    generator.chroma_slope = float(description.get("chroma_slope", 0.0))  # missing in older files
    try:
        generator.load_state_dict(safetensors.torch.load(weights))
    except (SafetensorError, RuntimeError) as error:
        problem = str(error).splitlines()[0]
        raise UserError(f"{weights_path} does not fit generator.json: {problem}") from None
    return generator.eval(), info


def _half(tensor: Tensor) -> Tensor:
    """Copies a tensor to the CPU, rounded to binary16 where its range allows."""
    tensor = tensor.detach().cpu().contiguous()
    rounded = tensor.half()
    return rounded if tensor.is_floating_point() and bool(rounded.isfinite().all()) else tensor
