"""Schedule of a training: its phase and its learning rates at each position."""

import math
from enum import StrEnum

from model.config import TrainConfig


class Phase(StrEnum):
    """Names the phases as history.jsonl does.

    WARM_UP: the generator alone learns to reconstruct. ADVERSARIAL: every term of the objective counts.
    """

    WARM_UP = "warmup"
    ADVERSARIAL = "full"


class Schedule:
    """Computes phase and learning rates from the number of images seen before a step."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config

    def phase(self, images: int) -> Phase:
        """Returns the phase of the step that begins at this position."""
        return Phase.WARM_UP if images < self._config.warmup_images else Phase.ADVERSARIAL

    def decay(self, images: int) -> float:
        """Returns the factor of all learning rates: 1 up to `decay_from`, then falling to 0 at the end."""
        config = self._config
        start = config.decay_from * config.images
        if config.decay == "none" or images <= start:
            return 1.0
        progress = (images - start) / (config.images - start)
        return 1 - progress if config.decay == "linear" else (1 + math.cos(math.pi * progress)) / 2

    def learning_rates(self, images: int) -> tuple[float, float]:
        """Returns the learning rates of generator and discriminator."""
        factor = self.decay(images)
        return self._config.learning_rate * factor, self._config.discriminator_learning_rate * factor
