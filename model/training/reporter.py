"""Interface through which a training reports what happens."""

from collections.abc import Mapping
from pathlib import Path

from model.networks.generator import Generator
from model.training.meters import Row


class Reporter:
    """Receives the events of a training, in the main process only; every method does nothing by default."""

    def begin(self, images: int) -> None:
        """Receives the number of images of the checkpoint that training resumes from, before the first step; or 0."""

    def progress(self, images: int) -> None:
        """Receives the number of images seen, after each step."""

    def row(self, row: Row) -> None:
        """Receives each row of history.jsonl.

        It holds images, phase (warmup, critic, full), the means since the last row of what `GanTrainer.step` returns,
        learning_rate, discriminator_learning_rate and images_per_second; where they are due
        `model.training.validation.FIGURES`, and `health_alarm`.
        """

    def sample(self, images: int, generator: Generator) -> None:
        """Receives the generator for use, in eval mode, every `sample_every` images and at the end."""

    def checkpoint(self, path: Path) -> None:
        """Receives the path of each checkpoint once it is on disk."""

    def alarm(self, sentence: str) -> None:
        """Receives the sentence of each alarm: what is not healthy, and what to change."""

    def files(self) -> Mapping[str, bytes]:
        """Returns small files by name for the next checkpoint; `Checkpoint.files` holds them when training resumes."""
        return {}
