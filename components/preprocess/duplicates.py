"""Near-duplicates, found by perceptual hashes within a Hamming distance."""

from collections.abc import Sequence
from itertools import combinations, pairwise
from math import comb

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Hashes = NDArray[np.uint64]

_ROWS, _COLUMNS = 256, 16384  # a block of distances takes 32 MiB
_PAIRS = 1 << 20  # candidates at once: 40 MiB
_SORTING, _CANDIDATE = 60, 30  # cost of a hash in a table, and of a pair found there, in block comparisons

WAVES = np.cos(np.pi / 64 * np.outer(np.arange(8), np.arange(1, 64, 2)))
"""The lowest 8 of the 32 waves of a discrete cosine transform: (8, 32)."""

_MIRRORED = np.where(np.arange(8) % 2, -1, 1)  # mirroring flips the sign of every other wave


def perceptual_hashes(gray: NDArray[np.uint8]) -> tuple[int, int]:
    """Computes the 64-bit pHash of a (H, W) uint8 picture and that of its mirror image, from one transform.

    The hashes equal those of `imagehash.phash`, except where a wave equals the median up to rounding.
    """
    small = Image.fromarray(gray).resize((32, 32), Image.Resampling.LANCZOS, reducing_gap=1)
    low = WAVES @ np.asarray(small, dtype=np.float64) @ WAVES.T
    return _above_median(low), _above_median(low * _MIRRORED)


def near_duplicates(hashes: Hashes, mirrored: Hashes, bits: int) -> NDArray[np.int64]:
    """Finds near-duplicates: goes through the photographs in order and keeps each that is close to none kept before.

    No two kept photographs are therefore within `bits` of each other, even along a chain of look-alikes. Training
    mirrors half of the photographs, so a mirror image counts as a look-alike. For few bits the time grows little faster
    than the number of photographs (benchmarks/scale), for many bits with its square. The memory grows by the hashes
    alone.

    Args:
        hashes: (n,) uint64.
        mirrored: (n,) uint64, hashes of the mirror images.
        bits: the largest Hamming distance of near-duplicates.

    Returns:
        (n,) int64: the index of the kept photograph that each duplicates; a kept photograph has its own index.
    """
    duplicate_of = np.arange(len(hashes))
    _mark_duplicates(duplicate_of, duplicate_of.copy(), hashes, mirrored, bits)
    return duplicate_of


def _mark_duplicates(
    duplicate_of: NDArray[np.int64], rows: NDArray[np.int64], hashes: Hashes, mirrored: Hashes, bits: int
) -> None:
    """Sets `duplicate_of` of ascending rows, none of which is close to a photograph kept before the first of them."""
    if len(rows) <= _ROWS:
        close = _is_close([hashes[rows], mirrored[rows]], hashes[rows], bits)
        for place, row in enumerate(rows):
            if duplicate_of[row] == row:
                later = rows[place + 1 :]
                duplicate_of[later[close[place + 1 :, place] & (duplicate_of[later] == later)]] = row
        return
    early, late = np.split(rows, [len(rows) // 2])
    _mark_duplicates(duplicate_of, early, hashes, mirrored, bits)
    kept = early[duplicate_of[early] == early]
    first = first_close((hashes[late], mirrored[late]), hashes[kept], bits)
    found = first < len(kept)
    duplicate_of[late[found]] = kept[first[found]]
    _mark_duplicates(duplicate_of, late[~found], hashes, mirrored, bits)


def first_close(queries: tuple[Hashes, ...], others: Hashes, bits: int) -> NDArray[np.int64]:
    """Finds the first of `others` that each picture is close to.

    Args:
        queries: hashes of the pictures, each (n,), of which any may be close.
        others: (m,) uint64.
        bits: the largest Hamming distance.

    Returns:
        (n,) int64: its index; m if there is none.
    """
    first = np.full(len(queries[0]), len(others))
    if masks := _masks(len(first), len(others), bits):
        for mask in masks:
            for hashes in queries:
                _look_up(first, hashes, others, mask, bits)
        return first
    for row in range(0, len(first), _ROWS):
        here = slice(row, row + _ROWS)
        for column in range(0, len(others), _COLUMNS):
            close = _is_close([hashes[here] for hashes in queries], others[column : column + _COLUMNS], bits)
            found = close.any(axis=1)
            first[here][found] = np.minimum(first[here][found], column + close[found].argmax(axis=1))
    return first


def _masks(queries: int, others: int, bits: int) -> list[np.uint64]:
    """Returns the keys of multi-index hashing as bit masks; none if comparing all pairs is cheaper.

    Two 64-bit hashes that differ in at most `bits` bits agree in at least s - `bits` of s parts. Each mask selects
    s - `bits` parts; s is the number with the least work. After Norouzi, Punjani, Fleet: Fast Search in Hamming Space
    with Multi-Index Hashing, CVPR 2012, but with several parts in a key, so that a key is long enough for many hashes.
    """

    def work(parts: int) -> float:
        candidates = _CANDIDATE * queries * others / 2 ** (64 * (parts - bits) / parts)
        return comb(parts, bits) * (_SORTING * (queries + others) + candidates)

    parts = min(range(bits + 1, bits + 6), key=work)
    if work(parts) >= queries * others:
        return []
    edges = [64 * part // parts for part in range(parts + 1)]
    masks = [(1 << end) - (1 << start) for start, end in pairwise(edges)]
    return [np.uint64(sum(chosen)) for chosen in combinations(masks, parts - bits)]


def _look_up(first: NDArray[np.int64], queries: Hashes, others: Hashes, mask: np.uint64, bits: int) -> None:
    """Lowers `first` to the first close hash among the others that agree with a query in the mask's bits."""
    order, asked = np.argsort(others & mask), np.argsort(queries & mask)
    keys, wanted = (others & mask)[order], (queries & mask)[asked]  # sorted queries are searched twice as fast
    starts = np.searchsorted(keys, wanted)
    counts = np.searchsorted(keys, wanted, side="right") - starts
    ends = np.cumsum(counts)
    for begin in range(0, int(ends[-1]), _PAIRS):
        pairs = np.arange(begin, min(begin + _PAIRS, int(ends[-1])))
        place = np.searchsorted(ends, pairs, side="right")
        query, other = asked[place], order[starts[place] + pairs - (ends[place] - counts[place])]
        close = np.bitwise_count(queries[query] ^ others[other]) <= bits
        np.minimum.at(first, query[close], other[close])


def _is_close(queries: Sequence[Hashes], others: Hashes, bits: int) -> NDArray[np.bool_]:
    """Returns (n, m) booleans: True where one of n pictures is close to one of m others."""
    distances = [np.bitwise_count(hashes[:, None] ^ others) for hashes in queries]
    close: NDArray[np.bool_] = np.minimum.reduce(distances) <= bits
    return close


def _above_median(waves: NDArray[np.float64]) -> int:
    ordered = np.sort(waves, axis=None)
    return int.from_bytes(np.packbits(waves > (ordered[31] + ordered[32]) / 2).tobytes())
