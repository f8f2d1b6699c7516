"""A table of the stored LAB and the chroma of every 8-bit sRGB color, built by all workers, and its look-up."""

import mmap
from functools import partial

import torch
from torch import Tensor

from components.preprocess.pool import in_processes
from model.color import encode_lab, srgb_to_lab

_CHROMA_SCALE = 1.9  # sRGB's largest chroma, 133.8, as 254


def color_table(workers: int) -> Tensor:
    """Converts every 8-bit color once; looking colors up is three times as fast as converting them.

    Each item converts one plane of blue. The memory is shared with all processes that are forked later. One process
    with a thread for every core took twenty times as long on a busy machine, because its threads wait for one another
    after every operation.

    Args:
        workers: number of processes.

    Returns:
        (2^24,) int32, indexed by R + 256 G + 65536 B. The bytes of an entry are L, a, b and the scaled chroma.

    Raises:
        MemoryError: a process was killed.
    """
    table = torch.frombuffer(mmap.mmap(-1, 4 << 24), dtype=torch.uint8).view(256, 256, 256, 4)
    for blue, done in in_processes(partial(_convert, table=table), range(256), workers):
        if done is None:
            raise MemoryError(f"the process that converts the colors of blue {blue} was killed")
    return table.view(torch.int32).flatten()


def look_up(rgbx: Tensor, colors: Tensor) -> tuple[Tensor, float]:
    """Returns the stored LAB of a picture and its mean chroma.

    Args:
        rgbx: (H, W, 4) uint8, contiguous; the fourth channel may hold anything.
        colors: the result of `color_table`.

    Returns:
        (3, H, W) uint8, equal to that of `color.encode_lab`; and the mean chroma in CIELAB units.
    """
    height, width, _ = rgbx.shape
    found = colors.index_select(0, rgbx.view(torch.int32).flatten() & 0xFFFFFF)
    lab = torch.empty((3, height, width), dtype=torch.uint8)
    for channel in lab:
        channel.copy_(found.view(height, width))  # takes the lowest byte
        found >>= 8
    return lab, int(found.bitwise_and_(0xFF).sum()) / found.numel() / _CHROMA_SCALE


def _convert(blue: int, table: Tensor) -> bool:
    levels = torch.arange(256, dtype=torch.uint8)
    rgb = torch.stack((levels.expand(256, 256), levels[:, None].expand(256, 256), levels[blue].expand(256, 256)))
    lab = srgb_to_lab(rgb)
    table[blue, ..., :3] = encode_lab(lab).movedim(0, 2)
    table[blue, ..., 3] = torch.hypot(lab[1], lab[2]).mul_(_CHROMA_SCALE).round_()
    return True
