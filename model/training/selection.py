"""Selection of the generator that training hands on: the last one, or the snapshot that validated best."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model.config import TrainConfig
from model.networks.generator import Generator
from model.training.meters import Row, below
from model.training.schedule import Phase
from model.training.validation import FIGURES


@dataclass(frozen=True)
class Snapshot:
    """Says when a generator was taken, in images seen, and its score: lower is better."""

    images: int
    score: float


class Best:
    """Keeps the snapshot of the generator with the best score so far.

    `l1_ab` scores by the error alone; `balance` adds a tenth of the difference in colorfulness, which gray colorings
    pay as much as exaggerated ones. Where there is an adversarial phase, only its generators count: l1_ab is at its
    best before colors come.

    Attributes:
        snapshot: None before the first generator that counts, and always where `select` is last.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._select = config.select
        self._adversarial = config.objective.adversarial != "none" and config.game_begins < config.images
        self._weights: dict[str, Tensor] = {}
        self.snapshot: Snapshot | None = None

    def offer(self, row: Row, generator: Generator) -> None:
        """Copies the generator if it has the best score.

        Args:
            row: of the history, with FIGURES of this generator.
            generator: for use.
        """
        if self._select == "last" or (self._adversarial and row["phase"] != Phase.ADVERSARIAL):
            return
        error, color, _ = (float(row[name]) for name in FIGURES)
        score = error + color / 10 if self._select == "balance" else error
        if score < (self.snapshot.score if self.snapshot else math.inf):
            self.snapshot = Snapshot(int(row["images"]), score)
            self._weights = {name: value.detach().clone() for name, value in generator.state_dict().items()}

    def restore(self, generator: Generator) -> None:
        """Loads the snapshot's weights into a generator; does nothing without a snapshot."""
        if self.snapshot:
            generator.load_state_dict(self._weights)

    def tensors(self) -> dict[str, Tensor]:
        """Returns the state for a checkpoint."""
        if not self.snapshot:
            return {}
        facts = torch.tensor([self.snapshot.images, self.snapshot.score], dtype=torch.float64)
        return {"snapshot": facts} | {f"best.{name}": value for name, value in self._weights.items()}

    def load(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Restores what `tensors` returned."""
        if "snapshot" in tensors:
            images, score = tensors["snapshot"].tolist()
            self.snapshot = Snapshot(int(images), score)
            self._weights = {name: value.to(device) for name, value in below(tensors, "best").items()}
