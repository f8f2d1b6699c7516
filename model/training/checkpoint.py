"""Checkpoint files: one safetensors file holds everything from which a training resumes, with a SHA-256 over it.

checkpoint-000000020000.safetensors
    metadata  state: JSON of schema_version, images, identity, history (the rows of history.jsonl); sha256
    tensors   those of Checkpoint.tensors by name, and file.<name>, uint8: each of Checkpoint.files
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from model.training.meters import Row, below
from model.utils.errors import UserError
from model.utils.files import write_aside

SCHEMA_VERSION = 2

_KEPT = 2
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """Holds all that a training needs to resume as if it had never stopped.

    Attributes:
        images: images seen: the position in data and schedule.
        identity: configuration, data and code of the training: nested mappings of JSON's types.
        tensors: weights, their average, the optimizers' moments, random states, running sums, the best snapshot.
        history: rows of history.jsonl up to here.
        files: small files by name that the caller of the training wants back when it resumes.
    """

    images: int
    identity: dict[str, Any]
    tensors: dict[str, Tensor]
    history: list[Row]
    files: dict[str, bytes]

    def to_bytes(self) -> bytes:
        """Returns the content of the file."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        for name, content in self.files.items():
            tensors[f"file.{name}"] = torch.from_numpy(np.frombuffer(content, np.uint8).copy())
        state = json.dumps(
            {
                "schema_version": SCHEMA_VERSION,
                "images": self.images,
                "identity": self.identity,
                "history": self.history,
            }
        )
        whole: bytes = safetensors.torch.save(tensors, {"state": state, "sha256": _digest(state, tensors)})
        return whole

    @classmethod
    def from_bytes(cls, content: bytes, source: str) -> "Checkpoint":
        """Reads what `to_bytes` returned.

        Raises:
            ValueError: the content is damaged.
            UserError: the checkpoint is of a schema that this version does not know; names `source`.
        """
        try:
            tensors = safetensors.torch.load(content)
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            metadata = header["__metadata__"]
            if _digest(metadata["state"], tensors) != metadata["sha256"]:
                raise ValueError("its SHA-256 differs")
            state = json.loads(metadata["state"])
        except (SafetensorError, KeyError) as error:
            raise ValueError(str(error)) from None
        if state["schema_version"] != SCHEMA_VERSION:
            raise UserError(
                f"{source} has schema_version {state['schema_version']}, this version of colorize reads "
                f"{SCHEMA_VERSION}: delete it to begin the training anew, or resume it with the version that wrote it."
            )
        files = below(tensors, "file")
        return cls(
            state["images"],
            state["identity"],
            {name: tensor for name, tensor in tensors.items() if not name.startswith("file.")},
            state["history"],
            {name: tensor.numpy().tobytes() for name, tensor in files.items()},
        )


def checkpoints(folder: Path) -> list[Path]:
    """Lists a folder's checkpoints, newest first; none of a missing folder."""
    return sorted(folder.glob("checkpoint-*.safetensors"), reverse=True)  # 12 digits each: by name is by images


def checkpoint_path(folder: Path, images: int) -> Path:
    """Returns the path of the checkpoint at a position."""
    return folder / f"checkpoint-{images:012d}.safetensors"


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint into a folder, which is made when missing, and removes all but the last two."""
    folder.mkdir(parents=True, exist_ok=True)
    path = checkpoint_path(folder, checkpoint.images)
    write_aside(path, checkpoint.to_bytes())
    for old in checkpoints(folder)[_KEPT:]:
        old.unlink()
    return path


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads and verifies a checkpoint.

    Raises:
        ValueError: the file is damaged.
        UserError: the file is of a schema that this version does not know.
        OSError: the file cannot be read.
    """
    return Checkpoint.from_bytes(path.read_bytes(), str(path))


def newest_checkpoint(folder: Path, identity: Mapping[str, Any] | None = None) -> Checkpoint | None:
    """Returns a folder's newest undamaged checkpoint, or None. Warns of each damaged one.

    Args:
        folder: may be missing.
        identity: of the training that resumes; None accepts any.

    Raises:
        UserError: the checkpoint belongs to another configuration, dataset or code, with every difference; or it is
            of a schema that this version does not know.
    """
    for path in checkpoints(folder):
        try:
            checkpoint = read_checkpoint(path)
        except (OSError, ValueError) as error:
            _log.warning("%s cannot be used (%s); resuming from the one before.", path, error)
            continue
        if identity is not None and (differences := list(_differences(checkpoint.identity, identity))):
            raise UserError(
                f"{path} was written by another training ({'; '.join(differences)}); "
                "restore these, or choose another checkpoint folder."
            )
        return checkpoint
    return None


def _digest(state: str, tensors: Mapping[str, Tensor]) -> str:
    """Computes SHA-256 over the state and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key in sorted(old.keys() | new.keys()):
        before, now = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from _differences(before, now, f"{prefix}{key}.")
        elif before != now:
            yield f"{prefix}{key}: {before} -> {now}"
