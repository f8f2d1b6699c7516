"""What a worker process does with one file: hash, decode, crop, scale, convert."""

import errno
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.dlpack import from_dlpack

from components.preprocess.colors import look_up
from components.preprocess.duplicates import perceptual_hashes
from model.images import ImageError, decode

MAX_BYTES = 1 << 30
"""Of a file: what no photograph of at most `MAX_PIXELS` takes, for a worker reads it whole."""


@dataclass(frozen=True)
class Task:
    """What every file is measured by, and where its pixels go."""

    size: int
    min_side: int
    min_chroma: float
    colors: Tensor
    """Of `color_table`."""
    pixels: int
    """Descriptor of a file of fixed slots, one per input: (3, size, size) uint8 LAB. So no pixels gather in memory."""

    def read(self, slot: int) -> NDArray[np.uint8]:
        """The (3, size, size) LAB of a slot."""
        lab = np.empty((3, self.size, self.size), dtype=np.uint8)
        os.preadv(self.pixels, [lab.data], slot * lab.nbytes)
        return lab

    def write(self, slot: int, lab: NDArray[np.uint8]) -> None:
        if os.pwrite(self.pixels, lab.data, slot * lab.nbytes) < lab.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@dataclass(frozen=True)
class Prepared:
    """What became of a file: the reason it is rejected, or an empty one, perceptual hashes, and pixels in its slot."""

    sha256: str
    width: int | None = None
    height: int | None = None
    reason: str = ""
    hash: int = 0
    """pHash of 64 bits of the central square's lightness."""
    mirrored: int = 0
    """pHash of its mirror image."""


def prepare(job: tuple[int, Path], task: Task) -> Prepared:
    """Puts a file's central square, scaled to size x size, into its slot as LAB.

    A square shorter than `size` is enlarged; one shorter than `min_side` is rejected. Scaling is bicubic over the whole
    footprint of a pixel (antialiased), as Pillow's.
    """
    slot, path = job
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            return Prepared("", reason=f"unreadable: {size} bytes, more than the limit of {MAX_BYTES}")
        content = path.read_bytes()
    except OSError as error:
        return Prepared("", reason=f"unreadable: {error.strerror}")
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        photograph = decode(content, min_side=task.size)
    except ImageError as error:
        return Prepared(sha256, reason=f"unreadable: {error.reason}")
    width, height = photograph.width, photograph.height
    if min(width, height) < task.min_side:
        return Prepared(sha256, width, height, f"too small: {width} x {height}, min_side is {task.min_side}")
    stored, chroma = look_up(_central_square(photograph.image, task.size), task.colors)
    if chroma < task.min_chroma:
        return Prepared(
            sha256, width, height, f"colorless: mean chroma {chroma:.1f}, min_chroma is {task.min_chroma:g}"
        )
    lab = stored.numpy()
    task.write(slot, lab)
    return Prepared(sha256, width, height, "", *perceptual_hashes(lab[0]))


def _central_square(image: Image.Image, size: int) -> Tensor:
    """(size, size, 4) uint8, contiguous: red, green, blue, and a fourth channel of no meaning."""
    side = min(image.size)
    top, left = (image.height - side) // 2, (image.width - side) // 2
    square = _pixels(image)[None, top : top + side, left : left + side].permute(0, 3, 1, 2)
    return interpolate(square, (size, size), mode="bicubic", antialias=True)[0].permute(1, 2, 0).contiguous()


def _pixels(image: Image.Image) -> Tensor:
    """(H, W, 4) uint8 of an RGB image, as Pillow holds it: no copy, up to 16 MiB, where it begins another block."""
    try:
        flat = from_dlpack(pa.array(image).values)
    except ValueError:
        flat = torch.from_numpy(np.array(image.convert("RGBX")))
    return flat.view(image.height, image.width, 4)
