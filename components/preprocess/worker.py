"""A worker's task: hashes, decodes, crops, scales and converts one file."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.dlpack import from_dlpack

from components.preprocess.color_table import look_up
from components.preprocess.crops import crop_hashes
from components.preprocess.duplicates import perceptual_hashes
from components.preprocess.prepared import Pixels, Prepared
from components.shared.photos.listing import MAX_BYTES
from model.data.images import ImageError, decode


@dataclass(frozen=True)
class Task:
    """Stores the thresholds for every file and the destination of its pixels."""

    pixels: Pixels
    min_side: int
    min_chroma: float
    colors: Tensor
    """The result of `color_table`."""


def prepare(job: tuple[int, Path], task: Task) -> Prepared:
    """Writes a file's central square, scaled to size x size, into its slot as LAB.

    A side below `size` is enlarged; one below `min_side` is rejected. Scaling is bicubic and antialiased, like
    Pillow's.

    Args:
        job: the slot and the file's path.
        task: thresholds and destination.

    Returns:
        The file's hashes and size, and the reason if it is rejected.
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
        photograph = decode(content, min_side=task.pixels.size)
    except ImageError as error:
        return Prepared(sha256, reason=f"unreadable: {error.reason}")
    width, height = photograph.width, photograph.height
    if min(width, height) < task.min_side:
        return Prepared(sha256, width, height, f"too small: {width} x {height}, min_side is {task.min_side}")
    stored, chroma = look_up(_central_square(photograph.image, task.pixels.size), task.colors)
    if chroma < task.min_chroma:
        return Prepared(
            sha256, width, height, f"colorless: mean chroma {chroma:.1f}, min_chroma is {task.min_chroma:g}"
        )
    lab = stored.numpy()
    task.pixels.write(slot, lab)
    return Prepared(sha256, width, height, "", *perceptual_hashes(lab[0]), crop_hashes(lab[0]))


def _central_square(image: Image.Image, size: int) -> Tensor:
    """Returns the scaled central square: (size, size, 4) uint8, contiguous; the fourth channel is undefined."""
    side = min(image.size)
    top, left = (image.height - side) // 2, (image.width - side) // 2
    square = _pixels(image)[None, top : top + side, left : left + side].permute(0, 3, 1, 2)
    return interpolate(square, (size, size), mode="bicubic", antialias=True)[0].permute(1, 2, 0).contiguous()


def _pixels(image: Image.Image) -> Tensor:
    """Returns (H, W, 4) uint8 of an RGB image; copies nothing below 16 MiB, the size of Pillow's memory blocks."""
    try:
        flat = from_dlpack(pa.array(image).values)
    except ValueError:
        flat = torch.from_numpy(np.array(image.convert("RGBX")))
    return flat.view(image.height, image.width, 4)
