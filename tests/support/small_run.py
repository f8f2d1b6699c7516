"""Settings with which `colorize run` takes seconds, and what such a run leaves: its table of steps, its aliases."""

import re
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

_ROW = re.compile(r"^│ (\w+) +│ (done|reused|failed|not run|interrupted) +│", re.MULTILINE)


def outcomes(output: str) -> dict[str, str]:
    """Returns the outcome of each step in the printed table."""
    return dict(_ROW.findall(output))


@dataclass(frozen=True)
class Ended:
    """Holds the exit status and the output of a run."""

    status: int
    output: str

    @property
    def outcomes(self) -> dict[str, str]:
        return outcomes(self.output)

    @property
    def last_line(self) -> str:
        return self.output.strip().splitlines()[-1]


def aliases(workspace: Path) -> dict[str, int]:
    """Returns the version of each alias in the registry of a workspace."""
    from mlflow import MlflowClient

    model = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}").get_registered_model("colorizer")
    return {alias: int(version) for alias, version in model.aliases.items()}
