"""What training leaves on disk: the generator for use, and the state from which training resumes.

Both are safetensors and JSON, so that nothing that is loaded can execute code. Both carry a SHA-256, so that a flipped
bit is found. Both are written aside and renamed, so that a kill leaves the old file or the new one.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from model.config import GeneratorConfig, check
from model.errors import UserError
from model.networks import Generator

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class GeneratorInfo:
    """How a generator was trained: the side of its crops and of the photographs they came from, in pixels; for how
    many images; and the SHA-256 of its weights' file."""

    crop: int
    size: int
    images: int
    weights_sha256: str


def save_generator(folder: Path, generator: Generator, *, crop: int, size: int, images: int) -> GeneratorInfo:
    """Writes generator.safetensors (float32) and generator.json into a folder, which is made when missing."""
    weights = safetensors.torch.save(_on_cpu(generator.state_dict()))
    info = GeneratorInfo(crop, size, images, hashlib.sha256(weights).hexdigest())
    description = {
        "schema_version": SCHEMA_VERSION,
        "generator": generator.config.model_dump(mode="json"),
        "crop": crop,
        "size": size,
        "images": images,
        "weights_sha256": info.weights_sha256,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_aside(folder / "generator.safetensors", weights)
    write_aside(folder / "generator.json", (json.dumps(description, indent=2) + "\n").encode())
    return info


def load_generator(folder: Path) -> tuple[Generator, GeneratorInfo]:
    """Reads what `save_generator` wrote: the generator, on the CPU and in eval mode, and how it was trained.

    Raises:
        UserError: a file is missing, damaged (its SHA-256 differs) or of a schema that this version does not know.
    """
    description_path, weights_path = folder / "generator.json", folder / "generator.safetensors"
    try:
        description = json.loads(description_path.read_bytes())
        weights = weights_path.read_bytes()
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; {folder} holds no trained generator.") from None
    except ValueError:
        raise UserError(f"{description_path} is no valid JSON; train again or fetch it again.") from None
    version = description.get("schema_version") if isinstance(description, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(f"{description_path}: schema_version is {version!r}; this version reads {SCHEMA_VERSION}.")
    try:
        info = GeneratorInfo(*(description[key] for key in ("crop", "size", "images", "weights_sha256")))
        config = description["generator"]
    except KeyError as error:
        raise UserError(f"{description_path}: {error.args[0]} is missing; train again or fetch it again.") from None
    if hashlib.sha256(weights).hexdigest() != info.weights_sha256:
        raise UserError(f"{weights_path} is damaged: its SHA-256 is not the one in generator.json; fetch it again.")
    generator = Generator(check(GeneratorConfig, config, str(description_path)))
    try:
        generator.load_state_dict(safetensors.torch.load(weights))
    except (SafetensorError, RuntimeError) as error:
        problem = str(error).splitlines()[0]
        raise UserError(f"{weights_path} does not fit generator.json: {problem}") from None
    return generator.eval(), info


def write_aside(path: Path, content: bytes) -> None:
    """Writes a file so that a kill, or a power cut, leaves either the old content or the new, never a part."""
    aside = path.with_name(f".{path.name}.partial")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
