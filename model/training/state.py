"""Checkpoints from which training resumes: safetensors with a SHA-256, written aside and renamed."""

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from model.training.distributed import Processes
from model.utils.errors import UserError
from model.utils.files import write_aside

SCHEMA_VERSION = 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """All that training needs to go on as if it had never stopped.

    Attributes:
        images: seen so far: the position in the data and in the schedule.
        tensors: weights, average, the optimisers' moments, random states, running means; float32 unless counters.
        identity: what was being trained on what by which code: nested mappings of JSON's types.
        history_bytes: length of the history file at this point.
    """

    images: int
    tensors: dict[str, Tensor]
    identity: dict[str, Any]
    history_bytes: int


def checkpoint_path(folder: Path, images: int) -> Path:
    """Where the checkpoint of a position lies."""
    return folder / f"checkpoint-{images:012d}.safetensors"


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: Collection[int] = ()) -> Path:
    """Writes checkpoint-<images>.safetensors and removes all but the last two and those of the positions `keep`."""
    tensors = _on_cpu(checkpoint.tensors)
    state = json.dumps(
        {
            "schema_version": SCHEMA_VERSION,
            "images": checkpoint.images,
            "identity": checkpoint.identity,
            "history_bytes": checkpoint.history_bytes,
        },
        sort_keys=True,
    )
    metadata = {"state": state, "sha256": _digest(state, tensors)}
    folder.mkdir(parents=True, exist_ok=True)
    path = checkpoint_path(folder, checkpoint.images)
    write_aside(path, safetensors.torch.save(tensors, metadata))
    kept = [checkpoint_path(folder, images) for images in keep]
    for old in checkpoints(folder)[2:]:
        if old not in kept:
            old.unlink()
    return path


def checkpoints(folder: Path) -> list[Path]:
    """A folder's checkpoints, newest first; of a missing folder, none."""
    return sorted(folder.glob("checkpoint-*.safetensors"), reverse=True)  # all of 12 digits: by name is by images


def newest_checkpoint(folder: Path, identity: Mapping[str, Any], until: int | None = None) -> Checkpoint | None:
    """The newest undamaged checkpoint of a folder, or None when there is none. Warns of each damaged one it passes by.

    Args:
        folder: may be missing.
        identity: what is to be trained now.
        until: a position: newer ones do not count.

    Raises:
        UserError: the checkpoint belongs to another configuration, dataset or code; names every difference.
    """
    for path in checkpoints(folder):
        if until is not None and path > checkpoint_path(folder, until):
            continue
        try:
            checkpoint = _read(path)
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            _log.warning("%s cannot be used (%s); going on from the one before.", path, error)
            continue
        differences = list(_differences(checkpoint.identity, identity))
        if differences:
            raise UserError(
                f"{path} was written by another training ({'; '.join(differences)}); "
                "restore these, or give another checkpoint folder."
            )
        return checkpoint
    return None


def shared_checkpoint(
    folder: Path, identity: Mapping[str, Any], team: Processes, until: int | None = None
) -> Checkpoint | None:
    """`newest_checkpoint` as the first process finds it, for all: the others may be on nodes that lack the folder.

    Raises:
        UserError: in the first process, as there; the others then lose their connection to it.
    """
    if team.count == 1:
        return newest_checkpoint(folder, identity, until)
    found = newest_checkpoint(folder, identity, until) if team.first else None
    position = [found.images, found.history_bytes] if found else []
    position = json.loads(team.told_bytes(json.dumps(position).encode()))
    if not position:
        return None
    tensors = safetensors.torch.load(team.told_bytes(safetensors.torch.save(found.tensors) if found else b""))
    return Checkpoint(position[0], tensors, dict(identity), position[1])


def _read(path: Path) -> Checkpoint:
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    if _digest(metadata["state"], tensors) != metadata["sha256"]:
        raise ValueError("its SHA-256 differs")
    state = json.loads(metadata["state"])
    if state["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema_version is {state['schema_version']}, this version reads {SCHEMA_VERSION}")
    return Checkpoint(state["images"], tensors, state["identity"], state["history_bytes"])


def _digest(state: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the state and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `name.`, without that beginning."""
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key in sorted(old.keys() | new.keys()):
        before, now = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from _differences(before, now, f"{prefix}{key}.")
        elif before != now:
            yield f"{prefix}{key}: {before} -> {now}"


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
