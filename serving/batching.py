"""Dynamic batching: requests of several threads for one network share a batch."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import NamedTuple, Self

import torch
from torch import Tensor

from model.inference.colorizer import Colorizer, Input


class _Job(NamedTuple):
    colorizer: Colorizer
    asked: Input
    answer: "Future[Tensor]"

    def batch_key(self) -> tuple[int, torch.Size]:
        """Returns the model and shape; jobs with equal keys can share a batch."""
        return id(self.colorizer), self.asked.L.shape


class Batcher:
    """Runs networks in one thread and batches what arrives meanwhile.

    Requests queue while a batch runs. The next batch holds the oldest request and all others of the same model, height
    and width, up to `largest`. A request is never delayed to fill a batch.
    """

    def __init__(self, threads: int, largest: int = 8, observe: Callable[[int], None] = lambda size: None) -> None:
        """
        Args:
            threads: number of cores for the network.
            largest: largest number of pictures in a batch.
            observe: receives the size of each batch.
        """
        self._largest, self._observe = largest, observe
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(threads,), name="network", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Answers what is queued, then ends the thread."""
        self._queue.put(None)
        self._thread.join()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Number of queued requests."""
        return self._queue.qsize()

    def predict(self, colorizer: Colorizer, asked: Input) -> Tensor:
        """Returns ab of one input, (2, h, w) in CIELAB units; blocks until it is ready. Thread-safe."""
        job = _Job(colorizer, asked, Future())
        self._queue.put(job)
        return job.answer.result()

    def _run(self, threads: int) -> None:
        torch.set_num_threads(threads)
        waiting: list[_Job] = []
        ending = False
        while not ending or waiting:
            arrived = [] if waiting else [self._queue.get()]
            while True:
                try:
                    arrived.append(self._queue.get_nowait())
                except Empty:
                    break
            ending = ending or None in arrived
            waiting.extend(job for job in arrived if job)
            if waiting:
                batch = [job for job in waiting if job.batch_key() == waiting[0].batch_key()][: self._largest]
                chosen = set(map(id, batch))
                waiting = [job for job in waiting if id(job) not in chosen]
                self._answer(batch)

    def _answer(self, batch: list[_Job]) -> None:
        self._observe(len(batch))
        try:
            answers = batch[0].colorizer.predict_together([job.asked for job in batch])
        except Exception as error:
            for job in batch:
                job.answer.set_exception(error)
        else:
            for job, answer in zip(batch, answers, strict=True):
                job.answer.set_result(answer)
