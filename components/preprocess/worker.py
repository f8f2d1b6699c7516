"""What a worker process does with one file: hash, decode, scale, crop, convert. Imports no torch, to start quickly."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import imagehash
import numpy as np
import scipy.fftpack  # noqa: F401 - imagehash imports it at the first hash; the fork server has it ready
from numpy.typing import NDArray
from PIL import Image, ImageOps

from model.images import ImageError, decode

# Buffers of past images are kept for the next: giving each back to the system costs a third of WebP's decoding time.
Image.core.set_blocks_max(16)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Task:
    """What every file is measured by, and where its pixels go."""

    size: int
    min_side: int
    min_chroma: float
    colors: Path
    """The .npy file of `step.write_colors`."""
    pixels: Path
    """A file of fixed slots, one per input: (3, size, size) uint8 LAB. So no pixels gather in anyone's memory."""

    def read(self, slot: int) -> NDArray[np.uint8]:
        """The (3, size, size) LAB of a slot."""
        count = 3 * self.size**2
        return np.fromfile(self.pixels, np.uint8, count, offset=slot * count).reshape(3, self.size, self.size)

    def write(self, slot: int, lab: NDArray[np.uint8]) -> None:
        with self.pixels.open("r+b", buffering=0) as file:
            file.seek(slot * lab.nbytes)
            file.write(lab.tobytes())


@dataclass(frozen=True)
class Prepared:
    """What became of a file: the reason it is rejected, or an empty one, perceptual hashes, and pixels in its slot."""

    sha256: str
    width: int | None = None
    height: int | None = None
    reason: str = ""
    hash: int = 0
    """pHash of 64 bits of the central square."""
    mirrored: int = 0
    """pHash of its mirror image."""


def prepare(job: tuple[int, Path], task: Task) -> Prepared:
    """Puts a file's central square, scaled to size x size, into its slot as LAB.

    A square shorter than `size` is enlarged; one shorter than `min_side` is rejected. Scaling is Pillow's Hamming
    filter over the whole footprint of a pixel: nearly as sharp as bicubic, in half the time.
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
    square = _central_square(photograph.rgb, task.size)
    lab = _to_lab(square, task.colors)
    chroma = _mean_chroma(lab)
    if chroma < task.min_chroma:
        return Prepared(
            sha256, width, height, f"colorless: mean chroma {chroma:.1f}, min_chroma is {task.min_chroma:g}"
        )
    task.write(slot, lab)
    return Prepared(sha256, width, height, "", *_perceptual_hashes(square))


def _central_square(rgb: NDArray[np.uint8], size: int) -> Image.Image:
    height, width = rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(rgb[top : top + side, left : left + side])
    return square.resize((size, size), Image.Resampling.HAMMING, reducing_gap=2)


def _to_lab(square: Image.Image, colors: Path) -> NDArray[np.uint8]:
    """(3, size, size) uint8 LAB as `color.encode_lab` stores it, looked up by color."""
    codes = np.frombuffer(square.tobytes("raw", "RGBX"), "<u4") & 0xFFFFFF
    found = _colors(colors)[codes].view(np.uint8).reshape(square.height, square.width, 4)
    return np.ascontiguousarray(found[..., :3].transpose(2, 0, 1))


@cache
def _colors(path: Path) -> NDArray[np.uint32]:
    table: NDArray[np.uint32] = np.load(path, mmap_mode="r", allow_pickle=False)
    return table


def _mean_chroma(lab: NDArray[np.uint8]) -> float:
    ab = lab[1:].astype(np.float32) - 128
    return float(np.sqrt((ab * ab).sum(axis=0)).mean())


def _perceptual_hashes(square: Image.Image) -> tuple[int, int]:
    gray = square.convert("L").resize((32, 32), Image.Resampling.LANCZOS, reducing_gap=3)  # where pHash starts from
    return _phash(gray), _phash(ImageOps.mirror(gray))


def _phash(gray: Image.Image) -> int:
    return int.from_bytes(np.packbits(imagehash.phash(gray).hash).tobytes())
