"""State of a training beside the tensors of `GanTrainer`: position, means, history, monitor and best snapshot."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from model.config import TrainConfig
from model.training.checkpoint import Checkpoint, newest_checkpoint, save_checkpoint
from model.training.distributed import ProcessGroup
from model.training.gan import GanTrainer
from model.training.meters import HISTORY, Means, Row
from model.training.monitor import Monitor
from model.training.selection import Best
from model.utils.files import write_aside


class TrainingState:
    """Holds the state and keeps it in a folder: one file a checkpoint, and history.jsonl for people.

    Only the main process reads and writes the folder. The checkpoint alone counts when a training resumes:
    history.jsonl is written anew from it.

    Attributes:
        images: images seen.
        total: images of the whole training.
        folder: of checkpoints and history.jsonl.
        meters: means of the steps' figures since the last row.
        monitor: of the rows.
        best: snapshot of the generator.
    """

    def __init__(self, config: TrainConfig, identity: Mapping[str, Any], folder: Path, dist: ProcessGroup) -> None:
        """
        Args:
            config: of the training.
            identity: configuration, data and code: a checkpoint of another identity is refused.
            folder: made when missing.
            dist: the processes that train.
        """
        self.images = 0
        self.meters = Means()
        self.monitor = Monitor(config.health)
        self.best = Best(config)
        self.total, self.folder = config.images, folder
        self._identity, self._dist = dict(identity), dist
        self._history: list[Row] = []
        self._row_at = 0, time.perf_counter()  # images and time of the last row

    def resume(self, gan: GanTrainer) -> None:
        """Takes over the newest whole checkpoint of the folder, where there is one.

        Raises:
            UserError: in the main process, as `newest_checkpoint`; the others then lose their connection to it.
        """
        if checkpoint := self._newest():
            device = self._dist.device
            gan.load(checkpoint.tensors)
            self.meters.load(checkpoint.tensors, device)
            self.monitor.load(checkpoint.tensors)
            self.best.load(checkpoint.tensors, device)
            self.images = checkpoint.images
            self._history = checkpoint.history
        self._row_at = self.images, time.perf_counter()
        if self._dist.is_main:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_aside(self.folder / HISTORY, b"".join(map(_line, self._history)))

    def row(self, gan: GanTrainer) -> Row:
        """Returns a row: the means over steps and processes since the last row, rates and speed.

        `weights` is NaN if one of the trainer's tensors is not finite.
        """
        row: Row = {"images": self.images, "phase": str(gan.phase), **self.meters.over(self._dist)}
        if self._dist.any(not gan.is_finite()):
            row["weights"] = math.nan
        row["learning_rate"], row["discriminator_learning_rate"] = gan.learning_rates
        images, start = self._row_at
        row["images_per_second"] = (self.images - images) / (time.perf_counter() - start)
        return row

    def write(self, row: Row) -> Row:
        """Adds a row to the history and begins the next one; returns it without numbers that are not finite, which JSON
        cannot hold."""
        finite = {name: v for name, v in row.items() if not isinstance(v, float) or math.isfinite(v)}
        self._history.append(finite)
        if self._dist.is_main:
            with (self.folder / HISTORY).open("ab") as file:
                file.write(_line(finite))
        self.meters.clear()
        self._row_at = self.images, time.perf_counter()
        return finite

    def save(self, gan: GanTrainer, files: Mapping[str, bytes]) -> Path:
        """Writes a checkpoint with these files in it; returns its path. For the main process."""
        checkpoint = Checkpoint(self.images, self._identity, self._tensors(gan), self._history, dict(files))
        return save_checkpoint(self.folder, checkpoint)

    def _tensors(self, gan: GanTrainer) -> dict[str, Tensor]:
        return gan.tensors() | self.meters.tensors() | self.monitor.tensors() | self.best.tensors()

    def _newest(self) -> Checkpoint | None:
        """Returns the main process's newest checkpoint in every process: the others may be on nodes without the
        folder."""
        found = newest_checkpoint(self.folder, self._identity) if self._dist.is_main else None
        if self._dist.count == 1:
            return found
        content = self._dist.broadcast_bytes(found.to_bytes() if found else b"")
        return Checkpoint.from_bytes(content, "the main process's checkpoint") if content else None


def _line(row: Row) -> bytes:
    return json.dumps(row).encode() + b"\n"
