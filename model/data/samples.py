"""Samples of pictures: unpacked from bits, and scaled to 8 or 16 bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[Any]
"""(H, W, channels): uint8 for samples of at most 8 bits, uint16 for longer ones. 0 is black."""


def unpacked(rows: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint16]:
    """Returns `count` samples of each row, which are packed without gaps, the highest bit first."""
    samples = np.empty((len(rows), count), np.uint16)
    weights = 1 << np.arange(bits - 1, -1, -1, dtype=np.uint32)
    step = max(1, (1 << 22) // (8 * rows.shape[1]))  # rows at a time: a bit takes a byte, then four
    for top in range(0, len(rows), step):
        part = np.unpackbits(rows[top : top + step], axis=1, count=count * bits)
        samples[top : top + step] = part.reshape(len(part), count, bits) @ weights
    return samples


def scaled(samples: NDArray[np.unsignedinteger], bits: int) -> Samples:
    """Scales samples of `bits` bits to 8 bits, or to 16 if they have more than 8."""
    if bits in (8, 16):
        return samples
    target, most = (255, (1 << bits) - 1) if bits < 8 else (65535, (1 << bits) - 1)
    scaled = np.empty(samples.shape, np.uint8 if bits < 8 else np.uint16)
    step = max(1, (1 << 20) // samples[0].size)
    for top in range(0, len(samples), step):
        scaled[top : top + step] = (samples[top : top + step].astype(np.uint64) * target + most // 2) // most
    return scaled
