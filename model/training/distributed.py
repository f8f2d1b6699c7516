"""The processes that train together (torchrun starts them), and how they are asked to stop."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from model.utils.signals import handled


@dataclass(frozen=True)
class Processes:
    """This process among its equals. Alone, every method returns what it was given.

    Attributes:
        rank: 0 is the one that writes.
        count: of processes.
        device: where this one computes: its own GPU, or the CPU.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes, of a tensor on `device`."""
        if self.count > 1:
            dist.all_reduce(values)
            values = values / self.count
        return values

    def any(self, flag: bool) -> bool:
        """Whether any process says so; the same answer for all, at the same step."""
        if self.count == 1:
            return flag
        value = torch.tensor(int(flag))  # on the CPU, thus over gloo: no wait for the GPU
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return bool(value)

    def told(self, values: Tensor) -> Tensor:
        """The first one's values, for all; of a tensor on the CPU, of the same shape in every process."""
        if self.count > 1:
            dist.broadcast(values, 0)
        return values

    def told_bytes(self, content: bytes) -> bytes:
        """The first one's bytes, for all; what the others give is not looked at."""
        if self.count == 1:
            return content
        length = torch.tensor(len(content))
        dist.broadcast(length, 0)
        values = torch.empty(int(length), dtype=torch.uint8)
        if self.first:
            values = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        dist.broadcast(values, 0)
        return values.numpy().tobytes()


@contextmanager
def processes() -> Iterator[Processes]:
    """Joins the processes that torchrun started, by its environment (RANK, WORLD_SIZE, LOCAL_RANK); else one alone.

    GPUs talk over nccl, CPUs over gloo.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if count == 1:
        yield Processes(0, 1, device)
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), count, device)
    finally:
        dist.destroy_process_group()


@contextmanager
def termination() -> Iterator[Callable[[], bool]]:
    """Tells whether SIGTERM has come, instead of dying of it. Outside the main thread it never has."""
    asked: list[int] = []
    with handled({signal.SIGTERM: lambda number, _: asked.append(number)}):
        yield lambda: bool(asked)
