"""What a worker process does with one file: hash, decode, crop, scale, convert."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
import scipy.fftpack  # noqa: F401 - imagehash imports it at the first hash; here it is done once, before the fork
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate

from model.color import encode_lab, srgb_to_lab
from model.images import ImageError, decode

_CHROMA_SCALE = 1.9  # sRGB's largest chroma, 133.8, as 254


@dataclass(frozen=True)
class Task:
    """What every file is measured by, and where its pixels go."""

    size: int
    min_side: int
    min_chroma: float
    colors: Tensor
    """Of `color_table`."""
    pixels: Path
    """A file of fixed slots, one per input: (3, size, size) uint8 LAB. So no pixels gather in anyone's memory."""

    def read(self, slot: int) -> NDArray[np.uint8]:
        """The (3, size, size) LAB of a slot."""
        count = 3 * self.size**2
        return np.fromfile(self.pixels, np.uint8, count, offset=slot * count).reshape(3, self.size, self.size)

    def write(self, slot: int, lab: NDArray[np.uint8]) -> None:
        with self.pixels.open("r+b", buffering=0) as file:
            file.seek(slot * lab.nbytes)
            file.write(lab.data)


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


def color_table() -> Tensor:
    """The stored LAB of every 8-bit color, by R + 256 G + 65536 B: (2^24,) int32 of the bytes L, a, b, scaled chroma.

    There are only so many colors: `model.color` converts each once, and workers look theirs up, five times as fast.
    """
    table = torch.empty((256, 256, 256, 4), dtype=torch.uint8)
    levels = torch.arange(256, dtype=torch.uint8)
    plane = torch.stack((levels.expand(256, 256), levels[:, None].expand(256, 256), torch.zeros(256, 256)))
    rgb = plane.to(torch.uint8)
    for blue, into in enumerate(table):
        rgb[2] = blue
        lab = srgb_to_lab(rgb)
        into[..., :3] = encode_lab(lab).movedim(0, 2)
        into[..., 3] = torch.hypot(lab[1], lab[2]).mul_(_CHROMA_SCALE).round_()
    return table.view(torch.int32).flatten()


def prepare(job: tuple[int, Path], task: Task) -> Prepared:
    """Puts a file's central square, scaled to size x size, into its slot as LAB.

    A square shorter than `size` is enlarged; one shorter than `min_side` is rejected. Scaling is bicubic over the whole
    footprint of a pixel (antialiased), as Pillow's.
    """
    slot, path = job
    try:
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
    lab, chroma = _to_lab(_central_square(photograph.image, task.size), task.colors)
    if chroma < task.min_chroma:
        return Prepared(
            sha256, width, height, f"colorless: mean chroma {chroma:.1f}, min_chroma is {task.min_chroma:g}"
        )
    task.write(slot, lab)
    return Prepared(sha256, width, height, "", *_perceptual_hashes(lab[0]))


def _central_square(image: Image.Image, size: int) -> Tensor:
    """(3, size, size) uint8."""
    side = min(image.size)
    top, left = (image.height - side) // 2, (image.width - side) // 2
    square = torch.from_numpy(np.array(image))[top : top + side, left : left + side].permute(2, 0, 1)
    return interpolate(square[None], (size, size), mode="bicubic", antialias=True)[0]


def _to_lab(rgb: Tensor, colors: Tensor) -> tuple[NDArray[np.uint8], float]:
    """(3, size, size) uint8 LAB as `color.encode_lab` stores it, looked up by color, and its mean chroma."""
    red, green, blue = rgb.int()
    codes = blue.bitwise_left_shift_(16).add_(green, alpha=256).add_(red)
    found = colors.index_select(0, codes.flatten()).view(codes.shape)
    lab = torch.empty_like(rgb)
    for channel in lab:
        channel.copy_(found)  # takes the lowest byte
        found >>= 8
    return lab.numpy(), int((found & 0xFF).sum()) / found.numel() / _CHROMA_SCALE


def _perceptual_hashes(lightness: NDArray[np.uint8]) -> tuple[int, int]:
    # 32 x 32 is where pHash starts from.
    small = Image.fromarray(lightness).resize((32, 32), Image.Resampling.LANCZOS, reducing_gap=1)
    return _phash(small), _phash(ImageOps.mirror(small))


def _phash(gray: Image.Image) -> int:
    return int.from_bytes(np.packbits(imagehash.phash(gray).hash).tobytes())
