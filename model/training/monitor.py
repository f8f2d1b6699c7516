"""Whether a training is healthy: each row of its history is judged, an alarm raised, and a way back found."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.config import HealthConfig
from model.training.distributed import Processes
from model.training.state import Checkpoint, checkpoint_path, checkpoints, shared_checkpoint
from model.utils.errors import UserError

ALARM = "health_alarm"
"""1 in a row that raised an alarm, absent from the others."""

_NONE = -1


@dataclass(frozen=True)
class Alarm:
    """Why a training is not healthy.

    Attributes:
        reason: which figure has which value, and what its limit is.
        advice: what to change.
        broken: a number is not finite; nothing can be learnt from here on.
    """

    reason: str
    advice: str
    broken: bool


class Health:
    """Judges the rows and counts the returns.

    A return takes weights, average and moments back to the last healthy checkpoint and lowers the learning rates. The
    position in data and schedule goes on: what follows are other batches, history and steps stay in order, and a
    training takes as long as it was asked to.

    A checkpoint counts as healthy once `patience` healthy rows have followed it: what was within the limits by a hair
    would be lost again.
    """

    def __init__(self, config: HealthConfig) -> None:
        self._config = config
        self._returns = 0
        self._ill = 0  # unhealthy rows in a row
        self._well = 0  # healthy rows in a row, since the candidate where there is one
        self._healthy = self._candidate = _NONE  # positions of checkpoints: to go back to, to become that

    @property
    def slowdown(self) -> float:
        """Factor of all learning rates."""
        return self._config.learning_rate_factor**self._returns

    @property
    def needed(self) -> tuple[int, int]:
        """Positions of the checkpoints that must stay on disk."""
        return self._healthy, self._candidate

    def judge(self, row: Mapping[str, float | int | str]) -> Alarm | None:
        """Of a row that is due: an alarm when its numbers are broken, or when the game has looked lost for too long."""
        if alarm := broken(row):
            return alarm
        symptoms = list(self._symptoms(row)) if row["phase"] == "full" else []
        if symptoms:
            self._ill, self._well, self._candidate = self._ill + 1, 0, _NONE
            if self._ill != self._config.patience:
                return None
            reasons, advice = zip(*symptoms, strict=True)
            return Alarm(f"{' and '.join(reasons)}, {self._ill} rows in a row", ", or ".join(advice), broken=False)
        self._ill, self._well = 0, self._well + 1
        if self._candidate != _NONE and self._well >= self._config.patience:
            self._healthy, self._candidate = self._candidate, _NONE
        return None

    def saved(self, images: int) -> None:
        """Notes that a checkpoint is written at this position."""
        if self._well and self._candidate == _NONE:
            self._candidate, self._well = images, 0

    def answer(
        self, alarm: Alarm, images: int, phase: str, folder: Path, identity: Mapping[str, Any], team: Processes
    ) -> tuple[Checkpoint | None, str]:
        """What follows from an alarm.

        Args:
            alarm: what `judge` found.
            images: seen so far.
            phase: warmup or full.
            folder: of the checkpoints.
            identity: of this training.
            team: the processes that train; all ask at once.

        Returns:
            The checkpoint to take everything that a step changes from, or None to go on as it is; and a line that says
            what happened.

        Raises:
            UserError: there is no way on: the returns are used up, or numbers are broken and nothing can be gone back
                to.
        """
        allowed, healthy = self._config.returns, None
        back = self._candidate if self._healthy == _NONE else self._healthy
        if back != _NONE and self._returns < allowed:
            healthy = shared_checkpoint(folder, identity, team, until=back)
        if healthy is None and (alarm.broken or 0 < allowed == self._returns):
            good = next(iter(checkpoints(folder)), "none") if alarm.broken else checkpoint_path(folder, back)
            after = f", after {self._returns} returns to a healthy checkpoint" if self._returns else ""
            raise UserError(
                f"Training broke down within its last {images} images (phase {phase}){after}: {alarm.reason}; "
                f"{alarm.advice}. The last good checkpoint is {good}."
            )
        if healthy is None:
            then = "train.health.returns is 0" if allowed == 0 else "there is no healthy checkpoint yet"
            return None, f"Training is not healthy at {images} images: {alarm.reason}. It goes on as it is: {then}."
        self._returns += 1
        self._ill, self._well, self._healthy, self._candidate = 0, 0, healthy.images, _NONE
        return healthy, (
            f"Training is not healthy at {images} images: {alarm.reason}. It goes on from the checkpoint of "
            f"{healthy.images} images, learning rates times {self.slowdown:g} (return {self._returns} of {allowed})."
        )

    def tensors(self) -> dict[str, Tensor]:
        """For the checkpoint."""
        return {"health": torch.tensor([self._returns, self._ill, self._well, self._healthy, self._candidate])}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over what `tensors` gave."""
        self._returns, self._ill, self._well, self._healthy, self._candidate = tensors["health"].tolist()

    def _symptoms(self, row: Mapping[str, float | int | str]) -> Iterator[tuple[str, str]]:
        """Each figure beyond its limits, and what to change. A figure that is absent has none."""
        config, absent = self._config, math.nan
        figures = {name: float(row.get(name, absent)) for name in ("d_accuracy", "z_sensitivity", "ab_spread")}
        figures["ab_spread"] /= float(row.get("ab_spread_real", absent)) or absent
        limits = {
            "d_accuracy": config.d_accuracy,
            "ab_spread": config.ab_spread,
            "z_sensitivity": (config.z_sensitivity, math.inf),
        }
        for name, (low, high) in limits.items():
            value = figures[name]
            if value < low or value > high:
                side, limit = ("below", low) if value < low else ("above", high)
                yield f"{name} {_PER.get(name, '')}is {value:.3g}, {side} {limit:g}", _ADVICE[name, side]


def broken(row: Mapping[str, float | int | str]) -> Alarm | None:
    """An alarm when a number of a row is not finite."""
    names = [name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
    advice = "lower train.learning_rate or train.clip_gradient"
    return Alarm(f"no finite number any more: {', '.join(names)}", advice, broken=True) if names else None


_PER = {"ab_spread": "over the photographs' own "}
_ADVICE = {
    ("d_accuracy", "above"): "lower train.discriminator_learning_rate",
    ("d_accuracy", "below"): "raise train.discriminator_learning_rate",
    ("ab_spread", "below"): "raise train.objective.adversarial_weight or train.warmup_images",
    ("ab_spread", "above"): "lower train.objective.adversarial_weight or train.learning_rate",
    ("z_sensitivity", "below"): "raise train.objective.diversity_weight",
}
