"""Threads of the server that decode, color and encode photographs."""

import asyncio
import io
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Self

import torch

from model.data.images import decode, encode
from model.inference.choices import AUTOMATIC, Choices
from model.inference.colorizer import Colorizer
from serving.batching import Batcher

TYPES = {
    "image/jpeg": "image/jpeg", "image/png": "image/png", "image/webp": "image/webp", "image/tiff": "image/tiff",
    "image/bmp": "image/bmp", "image/gif": "image/jpeg",
}  # fmt: skip
"""Media type of each supported photograph and of its colored picture."""
ZIP = "application/zip"
_LARGE = 12_000_000  # pixels of all samples; a larger photograph takes up to a gigabyte and is colored alone


@dataclass(frozen=True)
class Limits:
    """Holds the limits of one request and the number of simultaneous requests."""

    bytes: int = 32 << 20
    """Largest size of a file."""
    pixels: int = 50_000_000
    """Largest number of pixels of a photograph, times its samples."""
    samples: int = 8
    seconds: float = 30.0
    """Longest time from the head of a request to its answer."""
    max_requests: int = 12
    """Largest number of requests that are read, wait, or are colored."""


class ColoringPool:
    """Colors photographs in a pool of threads, one thread per core.

    One thread decodes, colors and encodes a photograph. Waiting photographs stay encoded. Large photographs are colored
    one at a time. All threads share one `Batcher`, which runs the network.
    """

    def __init__(self, limits: Limits, observe: Callable[[int], None]) -> None:
        """
        Args:
            limits: limits of a request.
            observe: receives the size of each batch.
        """
        cores = torch.get_num_threads()
        self._limits = limits
        self._batcher = Batcher(cores, observe=observe)
        self._one_large = Lock()
        self._pool = ThreadPoolExecutor(cores, "photograph", initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> Self:
        self._batcher.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._batcher.__exit__()

    @property
    def alive(self) -> bool:
        return self._batcher.alive

    async def color(
        self, colorizer: Colorizer, content: bytes, samples: int = 1, choices: Choices = AUTOMATIC
    ) -> tuple[bytes, str]:
        """Returns the colored file and its media type: a picture, or a ZIP of several samples.

        A cancelled call leaves the queue. A photograph that a thread has begun is colored to the end.

        Raises:
            ImageError: the file cannot be decoded or encoded.
            UserError: the model does not know the label or takes no hints.
        """
        work = partial(self._work, colorizer, content, samples, choices)
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _work(self, colorizer: Colorizer, content: bytes, samples: int, choices: Choices) -> tuple[bytes, str]:
        photograph = decode(content, max_pixels=self._limits.pixels // samples)
        predict = partial(self._batcher.predict, colorizer)
        large = samples * photograph.width * photograph.height > _LARGE
        with self._one_large if large else nullcontext():
            colored = colorizer.colorize(photograph.rgb, samples=samples, predict=predict, **vars(choices))
            pictures = [encode(picture, photograph) for picture in colored]
        if samples == 1:
            return pictures[0], TYPES[f"image/{photograph.format.lower()}"]
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            for number, picture in enumerate(pictures, start=1):
                file.writestr(f"{number}{photograph.suffix}", picture)
        return archive.getvalue(), ZIP
