"""The training loop: resumes, plays step after step, writes history and checkpoints, stops when it must."""

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import IO

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from model.batches import Batches
from model.checkpoint import Checkpoint, below, checkpoints, newest_checkpoint, save_checkpoint
from model.classes import class_counts
from model.config import TrainConfig
from model.errors import Interrupted, UserError
from model.game import Game
from model.networks import Generator, smallest_side
from model.processes import Processes, processes, termination
from model.shards import Shards
from model.starting import new_generator

HISTORY = "history.jsonl"
Row = dict[str, float | int | str]


@dataclass(frozen=True)
class Trained:
    """What came of it.

    Attributes:
        generator: the average when one is kept; in eval mode, on the device it was trained on.
        images: photographs seen, repeats counted: `config.images` rounded up to whole batches.
        rank: of this process; 0 writes.
        count: of processes that trained together.
    """

    generator: Generator
    images: int
    rank: int
    count: int


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
) -> Trained:
    """Trains a generator, going on from the newest good checkpoint in the folder.

    Under torchrun, every process calls this with the same arguments; they share each batch, and only the first writes
    and calls back. The folder must then be one that all of them see.

    On a CPU the result is the same to the bit for the same number of threads, killed and resumed or not. On a GPU it
    is not (cuDNN chooses among algorithms, sums come in any order), and other numbers of threads or processes round
    differently. With `norm: batch`, processes without a GPU normalise by their own share of the batch.

    Args:
        config: its durations are in images, rounded up to whole batches.
        shards: the training photographs.
        folder: of checkpoints and history.jsonl; made when missing. Delete it to start afresh.
        identity: what else must be the same for a checkpoint to be resumed: data, code, the generator to begin with.
        generator: to begin with, trained in place; None for `new_generator`.
        on_step: called with the images seen.
        on_log: called with each row of history.jsonl: images, phase (warmup, full), means since the last row of what
            `Game.play` returns, learning rates, images_per_second.
        on_sample: called every `sample_every` images, and at the end, with the images seen and the generator.

    Raises:
        UserError: configuration and shards do not fit together; the folder's checkpoint is of another training; a loss
            or a weight is no finite number any more.
        Interrupted: SIGTERM came; the state is saved.
    """
    with processes() as team, termination() as asked_to_stop:
        _check_fit(config, shards, team)
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")  # TF32 on a GPU
        whole_identity = {"config": config.model_dump(mode="json"), **identity}
        batch_size = config.batch_size
        steps = math.ceil(config.images / batch_size)

        prior = class_counts(shards) if config.objective.classes_weight else None
        game, means = Game(config, generator or new_generator(config), team, prior), _Means()
        checkpoint = newest_checkpoint(folder, whole_identity)
        images = checkpoint.images if checkpoint else 0
        if team.least(images) != images:
            raise UserError(f"{folder}: the processes find different checkpoints there; put it on shared storage.")
        if checkpoint:
            game.load(checkpoint.tensors)
            means.load(checkpoint.tensors, team.device)

        with _open_history(folder, checkpoint, team) as history:
            logged_at, logged_images = time.perf_counter(), images
            for stored in _loader(config, shards, team, range(images // batch_size, steps)):
                means.add(game.play(stored, images))
                rates, phase = game.learning_rates(images), "warmup" if images < config.warmup_images else "full"
                images += batch_size
                last = images >= config.images
                if team.first and on_step:
                    on_step(images)

                if last or _due(images, config.log_every, batch_size):
                    row: Row = {"images": images, "phase": phase, **means.over(team)}
                    _check_finite(row, folder)
                    now = time.perf_counter()
                    row["learning_rate"], row["discriminator_learning_rate"] = rates
                    row["images_per_second"] = (images - logged_images) / (now - logged_at)
                    logged_at, logged_images = now, images
                    means = _Means()
                    if team.first:
                        history.write(dumps(row).encode() + b"\n")
                        if on_log:
                            on_log(row)

                if team.first and on_sample and (last or _due(images, config.sample_every, batch_size)):
                    on_sample(images, game.trained)

                stop = team.any(asked_to_stop()) and not last
                if stop or last or _due(images, config.checkpoint_every, batch_size):
                    _check_finite({"images": images, "phase": phase, **means.over(team)}, folder)
                    tensors = game.tensors() | means.tensors()
                    if team.any(not _all_finite(tensors)):
                        _check_finite({"images": images, "phase": phase, "weights": math.nan}, folder)
                    if team.first and not last:
                        history.flush()
                        os.fsync(history.fileno())
                        save_checkpoint(folder, Checkpoint(images, tensors, whole_identity, history.tell()))
                if stop:
                    raise Interrupted(
                        f"{images} of {config.images} images are trained and saved in {folder}; start again to go on"
                    )
        return Trained(game.trained, images, team.rank, team.count)


class _Means:
    """Means of what steps returned since the last row, summed where they are: no step waits for the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def over(self, team: Processes) -> dict[str, float]:
        """The means over steps and processes; the processes share their sums by this."""
        if not self._sums:
            return {}
        shared = team.mean(torch.stack(list(self._sums.values())))
        self._sums = dict(zip(self._sums, shared, strict=True))
        return {name: value / self._counts[name] for name, value in zip(self._sums, shared.tolist(), strict=True)}

    def tensors(self) -> dict[str, Tensor]:
        sums = {f"sum.{name}": value for name, value in self._sums.items()}
        return sums | {f"count.{name}": torch.tensor(count) for name, count in self._counts.items()}

    def load(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        self._sums = {name: value.to(device) for name, value in below(tensors, "sum").items()}
        self._counts = {name: int(value) for name, value in below(tensors, "count").items()}


def _check_fit(config: TrainConfig, shards: Shards, team: Processes) -> None:
    if not len(shards):
        raise UserError("train: the dataset holds no photographs for training; give preprocess more of them.")
    if int(config.crop * config.zoom) > shards.size:
        raise UserError(
            f"train.crop is {config.crop} and train.zoom {config.zoom:g}, but the dataset's photographs have "
            f"{shards.size} pixels a side."
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


def _loader(config: TrainConfig, shards: Shards, team: Processes, steps: range) -> DataLoader[Tensor]:
    batches = Batches(
        shards, config.batch_size, config.crop, config.seed, team.rank, team.count, config.zoom, config.damage
    )
    gpu = team.device.type == "cuda"
    return DataLoader(batches, batch_size=None, sampler=steps, num_workers=4 if gpu else 0, pin_memory=gpu)


def _due(images: int, every: int, batch_size: int) -> bool:
    """Whether the step that ended at `images` reached or passed a multiple of `every`."""
    return images // every > (images - batch_size) // every


def _open_history(folder: Path, checkpoint: Checkpoint | None, team: Processes) -> IO[bytes]:
    """For appending, cut to what it was at the checkpoint: the rows after it get written again."""
    if not team.first:
        return Path(os.devnull).open("ab")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / HISTORY
    path.touch()
    length = checkpoint.history_bytes if checkpoint else 0
    if path.stat().st_size < length:
        raise UserError(
            f"{path} has lost rows that its checkpoint counts; restore it, or delete {folder} to start afresh."
        )
    os.truncate(path, length)
    return path.open("ab")


def _check_finite(row: Row, folder: Path) -> None:
    broken = [name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
    if broken:
        good = next(iter(checkpoints(folder)), None)
        raise UserError(
            f"Training broke down within its last {row['images']} images (phase {row['phase']}): no finite number any "
            f"more: {', '.join(broken)}; lower train.learning_rate or train.clip_gradient. "
            f"The last good checkpoint is {good or 'none'}."
        )


def _all_finite(tensors: Mapping[str, Tensor]) -> bool:
    return bool(torch.stack([t.isfinite().all() for t in tensors.values() if t.is_floating_point()]).all())
