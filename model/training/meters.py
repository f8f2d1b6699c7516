"""Means of the figures that training steps return, and the row that a history consists of."""

from collections.abc import Mapping

import torch
from torch import Tensor

from model.color import AB_SCALE
from model.training.distributed import ProcessGroup

HISTORY = "history.jsonl"
Row = dict[str, float | int | str]


class Means:
    """Averages the steps' figures since the last row. Sums stay on the device, so that no step waits for it."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Adds the scalars that a step returned; a figure may be absent from some steps."""
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def over(self, dist: ProcessGroup) -> dict[str, float]:
        """Returns the means over steps and processes; from here on all processes hold the same sums."""
        if not self._sums:
            return {}
        shared = dist.mean(torch.stack(list(self._sums.values())))
        self._sums = dict(zip(self._sums, shared, strict=True))
        return {name: value / self._counts[name] for name, value in zip(self._sums, shared.tolist(), strict=True)}

    def clear(self) -> None:
        """Begins anew, after a row."""
        self._sums, self._counts = {}, {}

    def tensors(self) -> dict[str, Tensor]:
        """Returns the state for a checkpoint."""
        sums = {f"sum.{name}": value for name, value in self._sums.items()}
        return sums | {f"count.{name}": torch.tensor(count) for name, count in self._counts.items()}

    def load(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Restores what `tensors` returned."""
        self._sums = {name: value.to(device) for name, value in below(tensors, "sum").items()}
        self._counts = {name: int(value) for name, value in below(tensors, "count").items()}


def below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Returns the tensors whose names begin with `name.`, without that prefix."""
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}


def spread(ab: Tensor) -> Tensor:
    """Returns the standard deviation over a photograph's pixels of (B, 2, H, W) in -1..1, in CIELAB units, mean over
    photographs."""
    return AB_SCALE * ab.flatten(2).std(dim=2).mean()
