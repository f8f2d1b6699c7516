"""Monitor of a training: raises an alarm when numbers are not finite or when figures stay beyond their limits."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model.config import HealthConfig
from model.training.meters import Row
from model.training.schedule import Phase

ALARM = "health_alarm"
"""Key of a row that raised an alarm, with the value 1; absent from the others."""


@dataclass(frozen=True)
class Alarm:
    """Says why a training is not healthy.

    Attributes:
        reason: each figure, its value and its limit.
        advice: which keys to change.
        fatal: a number is not finite, so nothing can be learned from here on.
    """

    reason: str
    advice: str
    fatal: bool


class Monitor:
    """Checks the rows of the history against the limits of `train.health`."""

    def __init__(self, config: HealthConfig) -> None:
        self._config = config
        self._bad_rows = 0  # in a row

    def check(self, row: Row) -> Alarm | None:
        """Returns an alarm if a number of the row is not finite, or if `patience` rows in a row were beyond a limit.

        An alarm of the second kind is raised once while the problem lasts. Only the adversarial phase has limits.
        """
        if alarm := check_finite(row):
            return alarm
        problems = list(self._problems(row)) if row["phase"] == Phase.ADVERSARIAL else []
        self._bad_rows = self._bad_rows + 1 if problems else 0
        if self._bad_rows != self._config.patience:
            return None
        reasons, advice = zip(*problems, strict=True)
        return Alarm(f"{' and '.join(reasons)}, {self._bad_rows} rows in a row", ", or ".join(advice), fatal=False)

    def tensors(self) -> dict[str, Tensor]:
        """Returns the state for a checkpoint."""
        return {"monitor": torch.tensor(self._bad_rows)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores what `tensors` returned."""
        self._bad_rows = int(tensors["monitor"])

    def _problems(self, row: Row) -> Iterator[tuple[str, str]]:
        """Yields each figure beyond its limits, and the advice. An absent figure is NaN, beyond no limit."""
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
                yield f"{name} {_RELATIVE.get(name, '')}is {value:.3g}, {side} {limit:g}", _ADVICE[name, side]


def check_finite(row: Row) -> Alarm | None:
    """Returns a fatal alarm if a number of the row is not finite."""
    names = [name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
    advice = "lower train.learning_rate or train.clip_gradient"
    return Alarm(f"{', '.join(names)} not finite", advice, fatal=True) if names else None


_RELATIVE = {"ab_spread": "over the photographs' own "}
_ADVICE = {
    ("d_accuracy", "above"): "lower train.discriminator_learning_rate",
    ("d_accuracy", "below"): "raise train.discriminator_learning_rate",
    ("ab_spread", "below"): "raise train.objective.adversarial_weight or train.warmup_images",
    ("ab_spread", "above"): "lower train.objective.adversarial_weight or train.learning_rate",
    ("z_sensitivity", "below"): "raise train.objective.diversity_weight",
}
