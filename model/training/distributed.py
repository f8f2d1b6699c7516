"""The group of processes that train together, started by torchrun, and the request to stop them."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor

from model.utils.signals import handled


@dataclass(frozen=True)
class ProcessGroup:
    """Connects this process to the others. In a group of one, every method returns its argument.

    Attributes:
        rank: number of this process; 0 is the main process, which alone writes files.
        count: number of processes.
        device: device of this process: its own GPU, or the CPU.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """True in the process of rank 0."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Returns the mean over all processes of a tensor on `device`."""
        if self.count > 1:
            torch.distributed.all_reduce(values)
            values = values / self.count
        return values

    def any(self, flag: bool) -> bool:
        """Returns True in every process if the flag is True in at least one."""
        if self.count == 1:
            return flag
        value = torch.tensor(int(flag))  # on the CPU, thus over gloo: no wait for the GPU
        torch.distributed.all_reduce(value, torch.distributed.ReduceOp.MAX)
        return bool(value)

    def broadcast(self, values: Tensor) -> Tensor:
        """Broadcasts the main process's tensor, which is on the CPU and has the same shape in every process."""
        if self.count > 1:
            torch.distributed.broadcast(values, 0)
        return values

    def broadcast_bytes(self, content: bytes) -> bytes:
        """Broadcasts the main process's bytes, of any length; ignores the argument of the other processes."""
        if self.count == 1:
            return content
        length = int(self.broadcast(torch.tensor(len(content))))
        values = torch.empty(length, dtype=torch.uint8)
        if self.is_main and length:
            values = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        return self.broadcast(values).numpy().tobytes()


@contextmanager
def join_processes() -> Iterator[ProcessGroup]:
    """Joins the processes that torchrun started, read from RANK, WORLD_SIZE and LOCAL_RANK; without them, a group of
    one. GPUs communicate over nccl, CPUs over gloo."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if count == 1:
        yield ProcessGroup(0, 1, device)
        return
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield ProcessGroup(torch.distributed.get_rank(), count, device)
    finally:
        torch.distributed.destroy_process_group()


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Yields a function that returns True once SIGTERM has come; outside the main thread it always returns False."""
    received: list[int] = []
    with handled({signal.SIGTERM: lambda number, _: received.append(number)}):
        yield lambda: bool(received)
