"""Schedule of a training: its phase and its learning rates at each position."""

import math
from enum import StrEnum

from model.config import TrainConfig


class Phase(StrEnum):
    """Names the phases as history.jsonl does.

    WARM_UP: the generator alone learns to reconstruct. CRITIC: the discriminator alone learns to tell colorings of the
    generator, which rests, from photographs. ADVERSARIAL: both learn; every term of the objective counts.
    """

    WARM_UP = "warmup"
    CRITIC = "critic"
    ADVERSARIAL = "full"


class Schedule:
    """Computes phase and learning rates from the number of images seen before a step."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config

    def phase(self, images: int) -> Phase:
        """Returns the phase of the step that begins at this position."""
        if images < self._config.warmup_images:
            return Phase.WARM_UP
        return Phase.CRITIC if images < self._config.game_begins else Phase.ADVERSARIAL

    def factors(self, images: int) -> tuple[float, float]:
        """Returns the factors of the generator's and the discriminator's learning rates; 0 for a network that rests."""
        config, phase = self._config, self.phase(images)
        if phase is Phase.WARM_UP:
            return self._decay(config.decay, images, 0, config.warmup_images), 0.0
        if phase is Phase.CRITIC:
            return 0.0, 1.0
        factor = self._decay(config.game_decay, images, config.game_begins, config.images)
        return config.game_rate * factor, factor

    def learning_rates(self, images: int) -> tuple[float, float]:
        """Returns the learning rates of generator and discriminator."""
        generator, discriminator = self.factors(images)
        return self._config.learning_rate * generator, self._config.discriminator_learning_rate * discriminator

    def _decay(self, kind: str, images: int, begin: int, end: int) -> float:
        """Returns 1 up to the share `decay_from` of a phase, then a factor that falls to 0 at the phase's end."""
        start = begin + self._config.decay_from * (end - begin)
        if kind == "none" or images <= start:
            return 1.0
        progress = (images - start) / (end - start)
        return 1 - progress if kind == "linear" else (1 + math.cos(math.pi * progress)) / 2
