"""Dynamic batching: requests of several threads for one network share a batch."""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Self

import torch
from torch import Tensor

from model.inference.colorizer import LONGEST_ASPECT, Colorizer, Input
from serving.lanes import Abandoned


@dataclass(frozen=True, eq=False)
class _Job:
    colorizer: Colorizer
    asked: Input
    answer: "Future[Tensor]"
    gone: threading.Event
    """Set when nobody wants the answer."""

    def batch_key(self) -> tuple[int, torch.Size]:
        """Returns the model and shape; jobs with equal keys can share a batch."""
        return id(self.colorizer), self.asked.L.shape


class Batcher:
    """Runs networks in one thread and batches what arrives meanwhile.

    Requests queue while a batch runs. The next batch holds the oldest request and all others of the same model, height
    and width, up to `largest`, and up to as many pixels as the longest picture has. A request is never
    delayed to fill a batch. One whose caller is gone is left out.
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

    def predict(self, colorizer: Colorizer, asked: Input, gone: threading.Event) -> Tensor:
        """Returns ab of one input, (2, h, w) in CIELAB units; blocks until it is ready. Thread-safe.

        Raises:
            Abandoned: `gone` was set before the network saw the input.
        """
        job = _Job(colorizer, asked, Future(), gone)
        self._queue.put(job)
        try:
            return job.answer.result()
        except CancelledError:
            raise Abandoned from None

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
            waiting = [job for job in waiting if not (job.gone.is_set() and job.answer.cancel())]
            if waiting:
                batch = self._batch(waiting)
                waiting = [job for job in waiting if job not in batch]
                self._observe(len(batch))
                self._answer(batch)

    def _batch(self, waiting: list[_Job]) -> list[_Job]:
        """Returns the oldest job and the others that share its batch."""
        oldest = waiting[0]
        fits = LONGEST_ASPECT * oldest.colorizer.size**2 // oldest.asked.L.numel()
        return [job for job in waiting if job.batch_key() == oldest.batch_key()][: max(1, min(self._largest, fits))]

    def _answer(self, batch: list[_Job]) -> None:
        """Answers the jobs of a batch; if it fails, each alone, so that a bad picture fails only itself."""
        try:
            answers = batch[0].colorizer.predict_together([job.asked for job in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
            else:
                for job in batch:
                    self._answer([job])
        else:
            for job, answer in zip(batch, answers, strict=True):
                job.answer.set_result(answer)
