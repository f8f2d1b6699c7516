"""Settings with which `colorize run` takes seconds, and what such a run leaves: how its steps ended, its aliases."""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

SMALL = (
    "preprocess.size=32", "preprocess.min_photographs=20", "train.images=96", "train.warmup_images=48",
    "train.batch_size=8", "train.crop=32", "train.generator.channels=8", "train.generator.levels=3",
    "train.discriminator.channels=8", "train.discriminator.receptive_field=16", "train.log_every=16",
    "train.checkpoint_every=48", "train.sample_every=96", "register.rules.l1_ab.bound=100.0",
    "register.rules.colorfulness_error=null", "register.rules.kid_efflite0=null",
)  # fmt: skip
EASY = ("register.rules.l1_ab.change=-100.0",)
"""With SMALL: every model passes the gate."""
HARD = ("register.rules.l1_ab.change=100.0",)
"""No model passes the gate beside a champion."""

_ENDS = (
    re.compile(r"^(\w+)(?: \S+)?: (done|reused|failed|interrupted)(?:, [\d.]+ s)?$", re.MULTILINE),
    re.compile(r"^(\w+)(?: \S+)? (failed|interrupted): ", re.MULTILINE),
)


def outcomes(output: str) -> dict[str, str]:
    """Returns the outcome of each step in the printed lines; "not run" for every other."""
    return defaultdict(lambda: "not run", [found for pattern in _ENDS for found in pattern.findall(output)])


@dataclass(frozen=True)
class Ended:
    """Holds the exit status of a run, what it printed, and of that its stdout."""

    status: int
    output: str
    out: str = ""

    @property
    def outcomes(self) -> dict[str, str]:
        return outcomes(self.output)

    @property
    def last_line(self) -> str:
        return self.output.strip().splitlines()[-1]


def aliases(workspace: Path) -> dict[str, int]:
    """Returns the version of each alias in the registry of a workspace."""
    from mlflow import MlflowClient

    from components.shared.mlflow import sqlite

    model = MlflowClient(sqlite.url(workspace / "mlflow.db")).get_registered_model("colorizer")
    return {alias: int(version) for alias, version in model.aliases.items()}
