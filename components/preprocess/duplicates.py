"""Near-duplicates by perceptual hash: one photograph of each group of look-alikes is kept."""

from itertools import combinations, pairwise
from math import comb

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Hashes = NDArray[np.uint64]

_ROWS, _COLUMNS = 256, 16384  # a block of distances takes 32 MiB
_PAIRS = 1 << 20  # candidates at once: 40 MiB
_SORTING, _CANDIDATE = 60, 30  # what a hash in a table and a pair that it finds cost, in comparisons of blocks

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
    what it sees, so a mirror image counts as a look-alike. For few bits the time grows little faster than the number
    (benchmarks/scale), for many bits with its square; the memory grows only by the hashes.

    Args:
        hashes: (n,) uint64.
        mirrored: (n,) uint64, of the mirror images.
        bits: the largest Hamming distance of near-duplicates.

    Returns:
        (n,) int64: the index of the kept photograph that it is a near-duplicate of, its own index where it is kept.
    """
    kin = np.arange(len(hashes))
    _settle(kin, kin.copy(), hashes, mirrored, bits)
    return kin


def _settle(kin: NDArray[np.int64], rows: NDArray[np.int64], hashes: Hashes, mirrored: Hashes, bits: int) -> None:
    """Fills in `kin` of rows, in ascending order, that are close to none kept before the first of them."""
    if len(rows) <= _ROWS:
        close = _close(hashes[rows], mirrored[rows], hashes[rows], bits)
        for place, row in enumerate(rows):
            if kin[row] == row:
                later = rows[place + 1 :]
                kin[later[close[place + 1 :, place] & (kin[later] == later)]] = row
        return
    early, late = np.split(rows, [len(rows) // 2])
    _settle(kin, early, hashes, mirrored, bits)
    kept = early[kin[early] == early]
    first = _first_close(hashes[late], mirrored[late], hashes[kept], bits)
    found = first < len(kept)
    kin[late[found]] = kept[first[found]]
    _settle(kin, late[~found], hashes, mirrored, bits)


def _first_close(hashes: Hashes, mirrored: Hashes, others: Hashes, bits: int) -> NDArray[np.int64]:
    """The first of `others` that each is close to, or their number."""
    first = np.full(len(hashes), len(others))
    if masks := _masks(len(hashes), len(others), bits):
        for mask in masks:
            for queries in (hashes, mirrored):
                _look_up(first, queries, others, mask, bits)
        return first
    for row in range(0, len(hashes), _ROWS):
        here = slice(row, row + _ROWS)
        for column in range(0, len(others), _COLUMNS):
            close = _close(hashes[here], mirrored[here], others[column : column + _COLUMNS], bits)
            found = close.any(axis=1)
            first[here][found] = np.minimum(first[here][found], column + close[found].argmax(axis=1))
    return first


def _masks(queries: int, others: int, bits: int) -> list[np.uint64]:
    """Hashes of 64 bits in s parts that differ in `bits` of them agree in s - `bits` parts: the sets of so many parts,
    for the s with the least work; none where comparing all with all is less.

    Norouzi, Punjani, Fleet: Fast Search in Hamming Space with Multi-Index Hashing, CVPR 2012; with more than one part
    of s in a key, so that a key is long enough for many hashes.
    """

    def work(parts: int) -> float:
        candidates = _CANDIDATE * queries * others / 2 ** (64 * (parts - bits) / parts)
        return comb(parts, bits) * (_SORTING * (queries + others) + candidates)

    parts = min(range(bits + 1, bits + 6), key=work)
    if work(parts) > queries * others:
        return []
    edges = [64 * part // parts for part in range(parts + 1)]
    masks = [(1 << end) - (1 << start) for start, end in pairwise(edges)]
    return [np.uint64(sum(chosen)) for chosen in combinations(masks, parts - bits)]


def _look_up(first: NDArray[np.int64], queries: Hashes, others: Hashes, mask: np.uint64, bits: int) -> None:
    """Lowers `first` to the close ones among the others that agree with a query in the mask."""
    order, asked = np.argsort(others & mask), np.argsort(queries & mask)
    keys, wanted = (others & mask)[order], (queries & mask)[asked]  # ascending: searching is twice as fast
    starts = np.searchsorted(keys, wanted)
    counts = np.searchsorted(keys, wanted, side="right") - starts
    ends = np.cumsum(counts)
    for begin in range(0, int(ends[-1]), _PAIRS):
        pairs = np.arange(begin, min(begin + _PAIRS, int(ends[-1])))
        place = np.searchsorted(ends, pairs, side="right")
        query, other = asked[place], order[starts[place] + pairs - (ends[place] - counts[place])]
        close = np.bitwise_count(queries[query] ^ others[other]) <= bits
        np.minimum.at(first, query[close], other[close])


def _close(hashes: Hashes, mirrored: Hashes, others: Hashes, bits: int) -> NDArray[np.bool_]:
    """(n, m): which of n photographs are close to which of m others."""
    as_is = np.bitwise_count(hashes[:, None] ^ others)
    turned = np.bitwise_count(mirrored[:, None] ^ others)
    close: NDArray[np.bool_] = np.minimum(as_is, turned) <= bits
    return close


def _above_median(waves: NDArray[np.float64]) -> int:
    ordered = np.sort(waves, axis=None)
    return int.from_bytes(np.packbits(waves > (ordered[31] + ordered[32]) / 2).tobytes())
