"""What tests of trainings share: how to stop one, and when two have come to the same."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from model.networks.generator import Generator


class CrashError(Exception):
    """Nothing that a training expects."""


def crash(images: int) -> None:
    """What a training that dies does."""
    raise CrashError


def terminate(images: int) -> None:
    """What a cluster does to a training on a node that it takes away."""
    os.kill(os.getpid(), signal.SIGTERM)


def stop_at(images: int, how: Callable[[int], None]) -> Callable[[int], None]:
    """An `on_step` that ends a training after so many images."""
    return lambda seen: how(seen) if seen == images else None


def history(folder: Path) -> list[dict[str, Any]]:
    """The rows of history.jsonl without the one figure that is a matter of time."""
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in rows]


def same(one: Generator, other: Generator) -> bool:
    """Whether two generators have the same weights, to the bit."""
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )
