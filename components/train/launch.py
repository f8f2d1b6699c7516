"""Launcher of the train step: in this process, in others that it supervises, or as a TrainJob on several nodes."""

import os
from pathlib import Path

from components.train.environment import PROCESSES, RETRIES, TRAINJOB
from components.train.torchrun import arguments, run_workers
from model.config import TrainConfig
from model.utils.errors import UserError


def train(
    dataset: Path | str, output: Path, checkpoints: str, config: TrainConfig, code_version: str = "", variant: str = ""
) -> None:
    """Runs `components.train.step.train` in the number of processes that the environment names.

    Several processes, and one that is to be started again when it is killed, are children of this one.

    Raises:
        UserError: as there, in `run_workers`, or in `components.train.trainjob.attempt.train_on_nodes`; the environment
            names no number.
        Interrupted: as there.
    """
    processes, retries = _number(PROCESSES, 1), _number(RETRIES, 0)
    if template := os.environ.get(TRAINJOB):
        from components.train.trainjob.attempt import train_on_nodes  # importing Kubernetes' client takes a second

        train_on_nodes(template, arguments(str(dataset), str(output), checkpoints, config, code_version, variant))
    elif processes > 1 or retries:
        work = arguments(str(dataset), str(output), checkpoints, config, code_version, variant)
        run_workers(work, processes, retries)
    else:
        from components.train import step  # the processes of the other branches import it

        step.train(dataset, output, checkpoints, config, code_version, variant)


def _number(variable: str, least: int) -> int:
    """Returns a number from the environment; the least where it has none."""
    value = os.environ.get(variable, str(least))
    if not value.isdecimal() or int(value) < least:
        raise UserError(f"{variable} is {value!r}; give a number, {least} or more.")
    return int(value)
