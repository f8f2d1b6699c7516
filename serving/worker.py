"""Work of the server on a photograph: a thread decodes it, has it colored, and encodes the picture."""

import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import Event
from typing import Self, TypeVar

import torch
from PIL import Image

from model.data import kinds
from model.data.encoding import encode
from model.data.images import ImageError, Photograph, TooLargeError, decode
from model.inference.choices import AUTOMATIC, Choices
from model.inference.colorizer import Colorizer, Pixels
from serving.batching import Batcher
from serving.lanes import Lane, end_if
from serving.limits import Limits
from serving.memory import Memory, needed

T = TypeVar("T")

TYPES = {media_type: kinds.WRITTEN[file_format].media_type for media_type, file_format in kinds.MEDIA_TYPES.items()}
"""Media type of each supported photograph and of its colored picture."""
ZIP = "application/zip"
_LONGEST = 1 << 18  # pixels of a side; a tile of the colorizer holds at least a whole row
_NOTHING = Image.new("RGB", (1, 1))
_NICE = 5  # how far large photographs give way to small ones; at 5 they get a quarter of a core that both want


class ColoringPool:
    """Colors photographs in two lanes: small ones in a thread per core, large ones in one thread that gives way.

    Every photograph begins in the lane of small ones, where a large one is only recognized. The small ones share one
    `Batcher`. A large one runs the network in its own thread, so that no small one waits for it. Waiting photographs
    stay encoded. A photograph holds `memory` from before it is decoded until it is encoded.
    """

    def __init__(self, limits: Limits, memory: Memory, observe: Callable[[int], None]) -> None:
        """
        Args:
            limits: limits of a request.
            memory: memory that the photographs at work share.
            observe: receives the size of each batch.
        """
        cores = torch.get_num_threads()
        self._limits, self._memory = limits, memory
        self._batcher = Batcher(cores, observe=observe)
        self._small = Lane("small", cores, limits.max_requests)
        self._large = Lane("large", 1, limits.max_large, _NICE)

    def __enter__(self) -> Self:
        self._batcher.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Waits for the photographs at work, which end soon once their callers are gone."""
        self._small.close()
        self._large.close()
        self._batcher.__exit__()

    @property
    def alive(self) -> bool:
        return self._batcher.alive

    async def color(
        self,
        colorizer: Colorizer,
        content: bytes,
        samples: int = 1,
        choices: Choices = AUTOMATIC,
        advance: Callable[[int, int], None] = lambda tile, tiles: None,
        read: Callable[..., Photograph] = decode,
        write: Callable[[Pixels, Photograph], bytes] = encode,
    ) -> tuple[bytes, str]:
        """Returns the colored file and its media type: a picture, or a ZIP of several samples.

        A cancelled call leaves the queue. Work that has begun ends before the next tile. `read` and `write` are
        `decode` and `encode` with what the caller asked for.

        Raises:
            ImageError: the file cannot be decoded or encoded.
            UserError: the model does not know the label or takes no hints.
            NoPlaceError, LateError, NeedsMoreError: the server is too busy, or too small.
            MemoryError: the estimate of the memory was too low.
        """
        color = partial(self._color, colorizer, samples, choices, advance, write)
        return await self._in_lanes(content, read, color, samples)

    async def preview(self, content: bytes) -> tuple[bytes, str]:
        """Returns a photograph as a JPEG, and its media type.

        Raises:
            ImageError: the file cannot be decoded.
            NoPlaceError, LateError, NeedsMoreError, MemoryError: as for `color`.
        """
        return await self._in_lanes(content, decode, _preview)

    async def _in_lanes(
        self,
        content: bytes,
        read: Callable[..., Photograph],
        work: Callable[[Callable[[], Photograph], bool, Event], T],
        samples: int = 1,
    ) -> T:
        """Returns the result of `work` on a photograph, in the lane of its size.

        `work` receives what decodes the photograph, whether it is large, and the event of `Lane.run`.
        """
        times = self._limits.seconds, self._limits.coloring_seconds
        most = self._limits.pixels // samples
        small = min(most, self._limits.small_pixels // samples)

        def at_work(most: int, large: bool, gone: Event) -> T:
            end_if(gone)
            pixels = _pixels(content, read, most)
            with self._memory.work(needed(pixels, samples, content), gone, large), _memory_errors():
                end_if(gone)
                return work(partial(_read, content, read, pixels), large, gone)

        try:
            return await self._small.run(partial(at_work, small, False), *times)
        except TooLargeError as error:
            if error.size is None or error.size[0] * error.size[1] > most:
                raise TooLargeError("image", most, error.size) from None
        return await self._large.run(partial(at_work, most, True), *times)

    def _color(
        self,
        colorizer: Colorizer,
        samples: int,
        choices: Choices,
        advance: Callable[[int, int], None],
        write: Callable[[Pixels, Photograph], bytes],
        load: Callable[[], Photograph],
        large: bool,
        gone: Event,
    ) -> tuple[bytes, str]:
        def proceed(tile: int, tiles: int) -> None:
            end_if(gone)
            advance(tile, tiles)

        photograph = load()
        end_if(gone)
        predict = None if large else partial(self._batcher.predict, colorizer, gone=gone)
        colored = colorizer.colorize(
            photograph.pixels, samples=samples, predict=predict, advance=proceed, **vars(choices)
        )
        end_if(gone)
        photograph = replace(photograph, image=_NOTHING, deep=None)  # frees its pixels before encoding
        if samples == 1:
            return write(colored[0], photograph), photograph.media_type
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            for number, picture in enumerate(colored, start=1):
                end_if(gone)
                file.writestr(f"{number}{photograph.suffix}", write(picture, photograph))
        return archive.getvalue(), ZIP


def _pixels(content: bytes, read: Callable[..., Photograph], most: int) -> int:
    """Returns the number of pixels that a file declares.

    Raises:
        TooLargeError: it is more than `most`.
        ImageError: the file cannot be decoded.
    """
    try:
        read(content, max_pixels=0)
    except TooLargeError as error:
        if error.size is None or (pixels := error.size[0] * error.size[1]) > most:
            raise
        return pixels
    raise ImageError("image", "without pixels")


def _read(content: bytes, read: Callable[..., Photograph], pixels: int) -> Photograph:
    """Decodes a photograph.

    Raises:
        ImageError: it cannot be decoded, or one of its sides is too long to color.
    """
    photograph = read(content, max_pixels=pixels)
    if max(photograph.width, photograph.height) > _LONGEST:
        raise ImageError("image", f"a side is longer than {_LONGEST} pixels")
    return photograph


def _preview(load: Callable[[], Photograph], large: bool, gone: Event) -> tuple[bytes, str]:
    """Returns a photograph as a JPEG, and its media type."""
    photograph = load()
    end_if(gone)
    like = Photograph(photograph.image, photograph.width, photograph.height, "JPEG", icc=b"")
    return encode(photograph.rgb, like), like.media_type


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Turns PyTorch's errors for a lack of memory into MemoryError."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise MemoryError from error
        raise
