"""Loader of the training batches for one process."""

import math
import signal

from torch.utils.data import DataLoader

from model.config import TrainConfig
from model.data.batches import Batch, Batches
from model.data.shards import Shards
from model.training.distributed import ProcessGroup
from model.utils.cores import quota

_WORKERS = 4  # processes that read for a GPU, if the CPU limit allows as many


def batches(config: TrainConfig, shards: Shards, dist: ProcessGroup, start: int = 0) -> DataLoader[Batch]:
    """Loads this process's share of each batch from a position, in images, to the end of the training."""
    share = Batches(
        shards,
        config.batch_size,
        config.crop,
        config.seed,
        dist.rank,
        dist.count,
        config.zoom,
        config.damage,
        config.generator.labels,
        config.shuffle.lanes,
        config.shuffle.window,
    )
    steps = range(start // config.batch_size, math.ceil(config.images / config.batch_size))
    if dist.device.type != "cuda":
        return DataLoader(share, batch_size=None, sampler=steps)
    workers = min(_WORKERS, quota() or _WORKERS)
    return DataLoader(
        share, batch_size=None, sampler=steps, num_workers=workers, pin_memory=True, worker_init_fn=_ignore_termination
    )


def _ignore_termination(worker: int) -> None:
    """Lets a reading process outlive SIGTERM, which torchrun sends to a process and all its children: the last step
    still needs its batch. It ends with the process that it reads for."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
