"""Tools of the tests of trainings: how to stop one, what it reported, and when two have the same result."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from model.networks.generator import Generator
from model.training.reporter import Reporter


class CrashError(Exception):
    """An exception that no training expects."""


def crash(images: int) -> None:
    """Dies as a training with a bug does."""
    raise CrashError


def terminate(images: int) -> None:
    """Sends SIGTERM to this process, as a cluster does when it takes a node away."""
    os.kill(os.getpid(), signal.SIGTERM)


class Recorder(Reporter):
    """Records what a training reports, and calls functions when it does.

    Attributes:
        steps: images seen after each step.
        alarms: sentences.
    """

    def __init__(
        self,
        on_step: Callable[[int], None] = lambda images: None,
        on_sample: Callable[[int, Generator], None] = lambda images, generator: None,
    ) -> None:
        self.steps: list[int] = []
        self.alarms: list[str] = []
        self._on_step, self._on_sample = on_step, on_sample

    def progress(self, images: int) -> None:
        self.steps.append(images)
        self._on_step(images)

    def sample(self, images: int, generator: Generator) -> None:
        self._on_sample(images, generator)

    def alarm(self, sentence: str) -> None:
        self.alarms.append(sentence)


def stop_at(images: int, how: Callable[[int], None]) -> Reporter:
    """Returns a reporter that ends a training after this number of images."""
    return Recorder(lambda seen: how(seen) if seen == images else None)


def logged(folder: Path) -> list[dict[str, Any]]:
    """Returns the rows of history.jsonl."""
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def history(folder: Path) -> list[dict[str, Any]]:
    """Returns the rows of history.jsonl without images_per_second, which depends on the clock."""
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in logged(folder)]


def same(one: Generator, other: Generator) -> bool:
    """Returns True if two generators have the same weights to the bit."""
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )
