"""The training loop: resumes, plays step after step, writes history and checkpoints, stops when it must."""

import logging
import math
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from model.config import TrainConfig
from model.data.batches import Batch, Batches
from model.data.shards import Shards
from model.networks.discriminator import smallest_side
from model.networks.generator import Generator
from model.training.distributed import Processes, processes, termination
from model.training.gan import Game
from model.training.meters import History, Means, Row
from model.training.monitor import ALARM, Health, broken
from model.training.start import new_generator
from model.training.state import Checkpoint, save_checkpoint, shared_checkpoint
from model.training.validation import Best, Snapshot, Validation
from model.utils.errors import Interrupted, UserError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What came of it.

    Attributes:
        generator: the average when one is kept, as `config.select` has it; in eval mode, on the device it was trained
            on.
        images: photographs seen, repeats counted: `config.images` rounded up to whole batches.
        rank: of this process; 0 writes.
        count: of processes that trained together.
        snapshot: when the generator was taken and how it scored; None for the last.
    """

    generator: Generator
    images: int
    rank: int
    count: int
    snapshot: Snapshot | None


def train(
    config: TrainConfig,
    shards: Shards,
    folder: Path,
    identity: Mapping[str, str],
    *,
    generator: Generator | None = None,
    on_step: Callable[[int], None] | None = None,
    on_log: Callable[[Row], None] | None = None,
    on_sample: Callable[[int, Generator], None] | None = None,
    on_checkpoint: Callable[[int], None] | None = None,
    on_alarm: Callable[[str], None] | None = None,
) -> Trained:
    """Trains a generator, going on from the newest good checkpoint in the folder.

    Under torchrun, every process calls this with the same arguments; they share each batch. Only the first reads and
    writes the folder, and calls back; the others may be on other nodes. A training may go on with another number of
    processes than it was stopped with.

    On a CPU the result is the same to the bit for the same number of threads, killed and resumed or not. On a GPU it
    is not (cuDNN chooses among algorithms, sums come in any order), and other numbers of threads or processes round
    differently. With `norm: batch`, processes without a GPU normalise by their own share of the batch.

    Args:
        config: its durations are in images, rounded up to whole batches.
        shards: the training photographs; those for validation are taken from the same dataset.
        folder: of checkpoints and history.jsonl; made when missing. Delete it to start afresh.
        identity: what else must be the same for a checkpoint to be resumed: data, code, the generator to begin with.
        generator: to begin with, trained in place; None for `new_generator`.
        on_step: called with the images seen.
        on_log: called with each row of history.jsonl: images, phase (warmup, full), means since the last row of what
            `Game.play` returns, learning rates, images_per_second; where they fall due
            `model.training.validation.FIGURES`, and `health_alarm`.
        on_sample: called every `sample_every` images, and at the end, with the images seen and the generator.
        on_checkpoint: called with the images seen when a checkpoint is on disk, and history.jsonl up to there.
        on_alarm: called with a line that says what is not healthy and what was done.

    Raises:
        UserError: configuration and shards do not fit together; the folder's checkpoint is of another training; this
            one is not healthy and there is no way on (`Health.answer`).
        Interrupted: SIGTERM came; the state is saved.
    """
    with processes() as team, termination() as asked_to_stop:
        _check_fit(config, shards, team)
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")  # TF32 on a GPU
        whole_identity = {"config": config.model_dump(mode="json"), **identity}
        batch_size = config.batch_size
        steps = math.ceil(config.images / batch_size)

        game, means = Game(config, generator or new_generator(config), team), Means()
        health, best = Health(config.health), Best(config)
        validate = Validation(shards.sibling("val"), team) if config.validate_every else None
        checkpoint = shared_checkpoint(folder, whole_identity, team)
        images = saved = checkpoint.images if checkpoint else 0
        if checkpoint:
            game.load(checkpoint.tensors)
            means.load(checkpoint.tensors, team.device)
            health.load(checkpoint.tensors)
            best.load(checkpoint.tensors, team.device)
            game.slowdown = health.slowdown

        with History(folder, checkpoint.history_bytes if checkpoint else 0, images, team) as history:
            for stored, y in _loader(config, shards, team, range(images // batch_size, steps)):
                means.add(game.play(stored, images, y))
                rates, phase = game.learning_rates(images), "warmup" if images < config.warmup_images else "full"
                images += batch_size
                last = images >= config.images
                if team.first and on_step:
                    on_step(images)
                if team.first and on_sample and (last or _due(images, config.sample_every, batch_size)):
                    on_sample(images, game.trained)

                log = last or _due(images, config.log_every, batch_size)
                save = last or _due(images, config.checkpoint_every, batch_size)
                stop = team.any(asked_to_stop()) and not last
                if not (log or save or stop):
                    continue
                row: Row = {"images": images, "phase": phase, **means.over(team)}
                if team.any(not _all_finite(game.tensors())):
                    row["weights"] = math.nan
                alarm = health.judge(row) if log else broken(row)
                if alarm and not (log or save):  # only a due step may answer, or SIGTERM would leave a trace
                    raise _interrupted(saved, config, folder)

                if log or alarm:
                    row["learning_rate"], row["discriminator_learning_rate"] = rates
                    row["images_per_second"] = history.speed(images)
                    if validate and (last or _due(images, config.validate_every, batch_size)):
                        row |= validate(game.trained)
                        best.offer(row, game.trained)
                    if alarm:
                        row[ALARM] = 1.0
                    row = history.write(row)
                    means = Means()
                    if team.first and on_log:
                        on_log(row)
                if alarm:
                    healthy, line = health.answer(alarm, images, phase, folder, whole_identity, team)
                    if healthy:
                        game.load(healthy.tensors)
                        game.slowdown = health.slowdown
                    if team.first:
                        _log.warning(line)
                        if on_alarm:
                            on_alarm(line)

                if stop or (save and not last):
                    if save:
                        health.saved(images)
                    tensors = game.tensors() | means.tensors() | health.tensors() | best.tensors()
                    if team.first:
                        state = Checkpoint(images, tensors, whole_identity, history.save())
                        save_checkpoint(folder, state, keep=health.needed)
                        if on_checkpoint:
                            on_checkpoint(images)
                    saved = images
                if stop:
                    raise _interrupted(saved, config, folder)
        best.restore(game.trained)
        return Trained(game.trained, images, team.rank, team.count, best.snapshot)


def _check_fit(config: TrainConfig, shards: Shards, team: Processes) -> None:
    if not len(shards):
        raise UserError("train: the dataset holds no photographs for training; give preprocess more of them.")
    if len(shards) < config.shuffle.lanes:
        raise UserError(
            f"train.shuffle.lanes is {config.shuffle.lanes}, but the dataset has {len(shards)} photographs "
            "for training."
        )
    if int(config.crop * config.zoom) > shards.size:
        raise UserError(
            f"train.crop is {config.crop} and train.zoom {config.zoom:g}, but the dataset's photographs have "
            f"{shards.size} pixels a side."
        )
    if labels := config.generator.labels:
        known = {label for label in shards.labels if label is not None}
        if unknown := [label for label in labels if label not in known]:
            raise UserError(
                f"train.generator.labels names {', '.join(unknown)}, but the labels of the photographs for training "
                f"are {', '.join(sorted(known)) or 'none at all: see preprocess.labels'}."
            )
    if config.batch_size % team.count:
        raise UserError(
            f"train.batch_size is {config.batch_size}; it must be a multiple of the {team.count} processes."
        )
    field = config.discriminator.receptive_field
    if config.objective.adversarial != "none" and config.crop < smallest_side(field):
        raise UserError(
            f"train.crop is {config.crop}; a discriminator with a receptive field of {field} needs at least "
            f"{smallest_side(field)} pixels."
        )


def _loader(config: TrainConfig, shards: Shards, team: Processes, steps: range) -> DataLoader[Batch]:
    batches = Batches(
        shards,
        config.batch_size,
        config.crop,
        config.seed,
        team.rank,
        team.count,
        config.zoom,
        config.damage,
        config.generator.labels,
        config.shuffle.lanes,
        config.shuffle.window,
    )
    if team.device.type != "cuda":
        return DataLoader(batches, batch_size=None, sampler=steps)
    return DataLoader(
        batches, batch_size=None, sampler=steps, num_workers=4, pin_memory=True, worker_init_fn=_outlive_termination
    )


def _outlive_termination(worker: int) -> None:
    """torchrun sends SIGTERM to a process and all that it has started; those that read are needed until the last step.
    They end with the process that they read for."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _due(images: int, every: int, batch_size: int) -> bool:
    """Whether the step that ended at `images` reached or passed a multiple of `every`."""
    return images // every > (images - batch_size) // every


def _interrupted(saved: int, config: TrainConfig, folder: Path) -> Interrupted:
    return Interrupted(f"{saved} of {config.images} images are trained and saved in {folder}; start again to go on")


def _all_finite(tensors: Mapping[str, Tensor]) -> bool:
    return bool(torch.stack([t.isfinite().all() for t in tensors.values() if t.is_floating_point()]).all())
