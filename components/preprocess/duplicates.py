"""Near-duplicates by perceptual hash: one photograph of each group of look-alikes is kept."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Hashes = NDArray[np.uint64]

_ROWS, _COLUMNS = 256, 16384  # a block of distances takes 32 MiB

# The lowest 8 of the 32 waves of a discrete cosine transform.
_WAVES = np.cos(np.pi / 64 * np.outer(np.arange(8), np.arange(1, 64, 2)))
_MIRRORED = np.where(np.arange(8) % 2, -1, 1)  # what a mirror makes of them: every other one changes its sign


def perceptual_hashes(gray: NDArray[np.uint8]) -> tuple[int, int]:
    """The pHash, of 64 bits, of a (H, W) uint8 picture and of its mirror image, from one transform.

    The hashes of `imagehash.phash`, up to waves that equal the median to the last bits.
    """
    small = Image.fromarray(gray).resize((32, 32), Image.Resampling.LANCZOS, reducing_gap=1)
    low = _WAVES @ np.asarray(small, dtype=np.float64) @ _WAVES.T
    return _above_median(low), _above_median(low * _MIRRORED)


def near_duplicates(hashes: Hashes, mirrored: Hashes, bits: int) -> NDArray[np.int64]:
    """Which photograph each is too close to, going through them in order and keeping what is close to none kept.

    So no two that are kept are within `bits` of each other, also along a chain of look-alikes. Training mirrors half of
    what it sees, so a mirror image counts as a look-alike. The time grows with the square of the number: one second
    for 20,000 on one core; the memory only by the hashes.

    Args:
        hashes: (n,) uint64.
        mirrored: (n,) uint64, of the mirror images.
        bits: the largest Hamming distance of near-duplicates.

    Returns:
        (n,) int64: the index of the kept photograph that it is a near-duplicate of, its own index where it is kept.
    """
    kin = np.arange(len(hashes))
    kept = np.empty(0, dtype=np.int64)
    for start in range(0, len(hashes), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(hashes)))
        for columns in np.split(kept, range(_COLUMNS, len(kept), _COLUMNS)):
            close = _close(hashes, mirrored, rows, columns, bits)
            found = np.flatnonzero(close.any(axis=1) & (kin[rows] == rows))
            if found.size:
                kin[rows[found]] = columns[close[found].argmax(axis=1)]
        close = _close(hashes, mirrored, rows, rows, bits)
        for place, row in enumerate(rows):
            if kin[row] == row:
                later = rows[place + 1 :]
                kin[later[close[place + 1 :, place] & (kin[later] == later)]] = row
        kept = np.concatenate((kept, rows[kin[rows] == rows]))
    return kin


def _close(
    hashes: Hashes, mirrored: Hashes, rows: NDArray[np.int64], columns: NDArray[np.int64], bits: int
) -> NDArray[np.bool_]:
    others = hashes[columns]
    as_is = np.bitwise_count(hashes[rows, None] ^ others)
    turned = np.bitwise_count(mirrored[rows, None] ^ others)
    close: NDArray[np.bool_] = np.minimum(as_is, turned) <= bits
    return close


def _above_median(waves: NDArray[np.float64]) -> int:
    ordered = np.sort(waves, axis=None)
    return int.from_bytes(np.packbits(waves > (ordered[31] + ordered[32]) / 2).tobytes())
