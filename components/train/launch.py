"""Launcher of the train step: one process, several on this node, or a TrainJob on several nodes."""

import os
from pathlib import Path

from components.train import step
from components.train.environment import PROCESSES, TRAINJOB
from components.train.torchrun import arguments, run_workers
from model.config import TrainConfig
from model.utils.errors import UserError


def train(
    dataset: Path | str, output: Path, checkpoints: str, config: TrainConfig, code_version: str = "", variant: str = ""
) -> None:
    """Runs `components.train.step.train` in the number of processes that the environment names.

    Raises:
        UserError: as there, or in `components.train.trainjob.attempt.train_on_nodes`; the environment names no number.
        Interrupted: as there.
    """
    count = os.environ.get(PROCESSES, "1")
    if not count.isdecimal() or int(count) < 1:
        raise UserError(f"{PROCESSES} is {count!r}; give a number of processes, 1 or more.")
    work = arguments(str(dataset), str(output), checkpoints, config, code_version, variant)
    if template := os.environ.get(TRAINJOB):
        from components.train.trainjob.attempt import train_on_nodes  # importing Kubernetes' client takes a second

        train_on_nodes(template, work)
    elif int(count) > 1:
        run_workers(work, "--standalone", f"--nproc-per-node={count}")
    else:
        step.train(dataset, output, checkpoints, config, code_version, variant)
