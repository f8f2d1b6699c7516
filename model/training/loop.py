"""The training loop: resumes, learns from each batch, then maintains history, checkpoints and alarms.

Read `gan.py` next, which does a step, then `losses.py`, which it minimizes.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from model.config import TrainConfig
from model.data.shards import Shards
from model.networks.generator import Generator
from model.training.checkpoint import checkpoints
from model.training.classes import balancing_colors
from model.training.distributed import ProcessGroup, join_processes, stop_requested
from model.training.gan import GanTrainer
from model.training.loader import batches
from model.training.monitor import ALARM, Alarm, check_finite
from model.training.reporter import Reporter
from model.training.selection import Snapshot
from model.training.start import check_fits, new_generator
from model.training.state import TrainingState
from model.training.validation import Validation
from model.utils.errors import Interrupted, TrainingFailed

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """Holds the result of a training.

    Attributes:
        generator: for use, as `config.select` says; in eval mode, on the device of the training.
        images: images seen, repeats counted: `config.images` rounded up to whole batches.
        rank: number of this process; 0 is the main process.
        count: number of processes that trained together.
        snapshot: when the generator was taken and its score; None for the last one.
    """

    generator: Generator
    images: int
    rank: int
    count: int
    snapshot: Snapshot | None


@dataclass(frozen=True)
class Due:
    """Says what follows a step. Each duration is in images and is due at the step that reaches its next multiple."""

    log: bool
    validate: bool
    sample: bool
    save: bool
    stop: bool

    @classmethod
    def at(cls, images: int, config: TrainConfig, stop: bool) -> Self:
        """Returns what is due after a step.

        Args:
            images: images seen after the step.
            config: of the training.
            stop: SIGTERM came; ignored after the last step.
        """
        last = images >= config.images

        def reached(every: int) -> bool:
            return images // every > (images - config.batch_size) // every

        return cls(
            log=last or reached(config.log_every),
            validate=bool(config.validate_every) and (last or reached(config.validate_every)),
            sample=last or reached(config.sample_every),
            save=not last and (stop or reached(config.checkpoint_every)),
            stop=not last and stop,
        )


def train(
    config: TrainConfig,
    shards: Shards,
    folder: Path,
    identity: Mapping[str, str],
    *,
    generator: Generator | None = None,
    reporter: Reporter | None = None,
) -> Trained:
    """Trains a generator, resuming from the newest whole checkpoint in the folder.

    Under torchrun, every process calls this with the same arguments; they share each batch. Only the main process reads
    and writes the folder, and reports; the others may be on other nodes. A training may resume with another number of
    processes.

    On a CPU the result is the same to the bit for the same number of threads, resumed or not. On a GPU it is not (cuDNN
    chooses among algorithms, sums come in any order), and other numbers of threads or processes round differently. With
    `norm: batch`, processes without a GPU normalize by their own share of the batch.

    Args:
        config: its durations are in images, rounded up to whole batches.
        shards: the training photographs; those for validation are taken from the same dataset.
        folder: of checkpoints and history.jsonl; made when missing. Delete it to begin anew.
        identity: what else must be the same for a checkpoint to be resumed: data, code, the generator to begin with.
        generator: to begin with, trained in place; None for `new_generator`.
        reporter: receives rows, samples, checkpoints and alarms.

    Raises:
        UserError: configuration and shards do not fit together, or the folder's checkpoint is of another training.
        TrainingFailed: a number is not finite.
        Interrupted: SIGTERM came; the state is saved.
    """
    with join_processes() as dist, stop_requested() as stop:
        check_fits(config, shards, dist)
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")  # TF32 on a GPU

        gan = GanTrainer(config, generator or new_generator(config), dist, balancing_colors(config, shards, dist))
        validation = Validation(shards.sibling("val"), dist) if config.validate_every else None
        state = TrainingState(config, {"config": config.model_dump(mode="json"), **identity}, folder, dist)
        state.resume(gan)
        reporter = reporter if reporter and dist.is_main else Reporter()
        reporter.begin(state.images)

        for batch in batches(config, shards, dist, start=state.images):
            state.meters.add(gan.step(batch, state.images))
            state.images += config.batch_size
            reporter.progress(state.images)
            maintain(Due.at(state.images, config, dist.any(stop())), gan, state, validation, dist, reporter)

        state.best.restore(gan.averaged)
        return Trained(gan.averaged, state.images, dist.rank, dist.count, state.best.snapshot)


def maintain(
    due: Due,
    gan: GanTrainer,
    state: TrainingState,
    validation: Validation | None,
    dist: ProcessGroup,
    reporter: Reporter,
) -> None:
    """Does what is due after a step.

    Raises:
        TrainingFailed: a number is not finite; nothing is saved.
        Interrupted: due.stop; the state is saved.
    """
    if due.sample and dist.is_main:
        reporter.sample(state.images, gan.averaged)
    if not (due.log or due.save):
        return

    row = state.row(gan)
    alarm = state.monitor.check(row) if due.log else check_finite(row)
    if due.log or alarm:
        if validation and due.validate:
            row |= validation(gan.averaged)
            state.best.offer(row, gan.averaged)
        if alarm:
            row[ALARM] = 1.0
        reporter.row(state.write(row))
    if alarm:
        _handle_alarm(alarm, gan.phase, state, dist, reporter)

    if due.save and dist.is_main:
        reporter.checkpoint(state.save(gan, reporter.files()))
    if due.stop:
        raise Interrupted(
            f"{state.images} of {state.total} images are trained and saved in {state.folder}; run the same command "
            "again to resume"
        )


def _handle_alarm(alarm: Alarm, phase: str, state: TrainingState, dist: ProcessGroup, reporter: Reporter) -> None:
    if alarm.fatal:
        good = next(iter(checkpoints(state.folder)), None)
        then = f"{good}; set train.init to it to begin with its weights" if good else "none"
        raise TrainingFailed(
            f"Training failed at {state.images} images (phase {phase}): {alarm.reason}; {alarm.advice}, and train "
            f"again. The last good checkpoint is {then}."
        )
    sentence = f"Training is not healthy at {state.images} images: {alarm.reason}; {alarm.advice}. Training continues."
    if dist.is_main:
        _log.warning(sentence)
    reporter.alarm(sentence)
