"""What a training tells as it goes: rows of history.jsonl, of means over the steps since the last row."""

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from model.training.distributed import Processes
from model.training.state import below
from model.utils.errors import UserError

HISTORY = "history.jsonl"
Row = dict[str, float | int | str]


class History:
    """history.jsonl, open for appending and cut to what it was at a checkpoint: the rows after it get written again.

    Only the first process writes.
    """

    def __init__(self, folder: Path, length: int, images: int, team: Processes) -> None:
        """
        Args:
            folder: made when missing.
            length: of the file at the checkpoint, in bytes; 0 to begin.
            images: seen at the checkpoint.
            team: the processes that train.

        Raises:
            UserError: the file is shorter.
        """
        path = folder / HISTORY if team.first else Path(os.devnull)
        if team.first:
            folder.mkdir(parents=True, exist_ok=True)
            path.touch()
            if path.stat().st_size < length:
                raise UserError(
                    f"{path} has lost rows that its checkpoint counts; restore it, or delete {folder} to start afresh."
                )
            os.truncate(path, length)
        self._file = path.open("ab")
        self._images, self._time = images, time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def speed(self, images: int) -> float:
        """Images per second since the last row."""
        return (images - self._images) / (time.perf_counter() - self._time)

    def write(self, row: Row) -> Row:
        """Adds a row, without what is no finite number, which JSON has no word for; returns what was written."""
        finite = {name: v for name, v in row.items() if not isinstance(v, float) or math.isfinite(v)}
        self._file.write(json.dumps(finite).encode() + b"\n")
        self._images, self._time = int(row["images"]), time.perf_counter()
        return finite

    def save(self) -> int:
        """Brings all rows to the disk; returns the file's length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()


class Means:
    """Means of what steps returned since the last row, summed where they are: no step waits for the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def over(self, team: Processes) -> dict[str, float]:
        """The means over steps and processes; the processes share their sums by this."""
        if not self._sums:
            return {}
        shared = team.mean(torch.stack(list(self._sums.values())))
        self._sums = dict(zip(self._sums, shared, strict=True))
        return {name: value / self._counts[name] for name, value in zip(self._sums, shared.tolist(), strict=True)}

    def tensors(self) -> dict[str, Tensor]:
        """For the checkpoint."""
        sums = {f"sum.{name}": value for name, value in self._sums.items()}
        return sums | {f"count.{name}": torch.tensor(count) for name, count in self._counts.items()}

    def load(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Takes over what `tensors` gave."""
        self._sums = {name: value.to(device) for name, value in below(tensors, "sum").items()}
        self._counts = {name: int(value) for name, value in below(tensors, "count").items()}
