"""Settings with which `colorize run` takes seconds, and a parser of its table of steps."""

import re

SMALL = (
    "preprocess.size=32", "preprocess.min_photographs=20", "train.images=96", "train.warmup_images=48",
    "train.batch_size=8", "train.crop=32", "train.generator.channels=8", "train.generator.levels=3",
    "train.discriminator.channels=8", "train.discriminator.receptive_field=16", "train.log_every=16",
    "train.checkpoint_every=48", "train.sample_every=96", "register.rules.ab_intersection.bound=0.0",
    "register.rules.l1_ab.bound=100.0",
)  # fmt: skip

_ROW = re.compile(r"^│ (\w+) +│ (done|reused|failed|not run|interrupted) +│", re.MULTILINE)


def outcomes(output: str) -> dict[str, str]:
    """Returns the outcome of each step in the printed table."""
    return dict(_ROW.findall(output))
