"""A photograph's way through the server, from the file's content to that of the colored one."""

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
from model.inference.colorizer import Colorizer
from serving.batching import Batcher

TYPES = {
    "image/jpeg": "image/jpeg", "image/png": "image/png", "image/webp": "image/webp", "image/tiff": "image/tiff",
    "image/bmp": "image/bmp", "image/gif": "image/jpeg",
}  # fmt: skip
"""Media type of a photograph, and of what it is colored into."""
ZIP = "application/zip"
_LARGE = 12_000_000  # pixels of all samples: beyond, a photograph takes up to a gigabyte, and is colored alone


@dataclass(frozen=True)
class Limits:
    """What one request may cost, and how many there may be."""

    bytes: int = 32 << 20
    """Of a file."""
    pixels: int = 50_000_000
    """Of a photograph, times its samples."""
    samples: int = 8
    seconds: float = 30.0
    """From a request's head to its answer."""
    at_once: int = 12
    """Requests that are being read, wait, or are worked on."""


class Coloring:
    """The threads that color.

    Each photograph is decoded, colored and encoded by one thread of a pool that has as many as there are cores; the
    rest wait as the files they came as. Of large ones, one at a time is colored. All ask one `Batcher` for the
    network's part.
    """

    def __init__(self, limits: Limits, observe: Callable[[int], None]) -> None:
        """
        Args:
            limits: of a request.
            observe: is told each batch's size.
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
        self, colorizer: Colorizer, content: bytes, samples: int, seed: int, label: str | None
    ) -> tuple[bytes, str]:
        """A file's content, colored, and its media type: a picture's, or for several samples that of a ZIP of them.

        Cancelled, it gives up its place in the queue; what is worked on already is worked on to its end.

        Raises:
            ImageError: as `decode`, `encode`.
            UserError: the model does not know the label.
        """
        work = partial(self._work, colorizer, content, samples, seed, label)
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _work(
        self, colorizer: Colorizer, content: bytes, samples: int, seed: int, label: str | None
    ) -> tuple[bytes, str]:
        photograph = decode(content, max_pixels=self._limits.pixels // samples)
        predict = partial(self._batcher.predict, colorizer)
        large = samples * photograph.width * photograph.height > _LARGE
        with self._one_large if large else nullcontext():
            colored = colorizer.colorize(photograph.rgb, seed, samples, label, predict)
            pictures = [encode(picture, photograph) for picture in colored]
        if samples == 1:
            return pictures[0], TYPES[f"image/{photograph.format.lower()}"]
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            for number, picture in enumerate(pictures, start=1):
                file.writestr(f"{number}{photograph.suffix}", picture)
        return archive.getvalue(), ZIP
