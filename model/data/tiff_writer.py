"""Writing of TIFF files with 8 or 16 bits a channel and any number of pages; Pillow writes 8 bits alone."""

import itertools
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory

from model.data.samples import Samples

_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _CHANNELS = 256, 257, 258, 259, 262, 277
_STRIP_OFFSETS, _STRIP_ROWS, _STRIP_SIZES, _PLANAR, _PREDICTOR, _EXTRA, _FORMAT = 273, 278, 279, 284, 317, 338, 339
_PROFILE, _DEFLATE, _RGB = 34675, 8, 2
_STRIP_BYTES = 1 << 20


class Writer:
    """Collects the pages of a TIFF, each compressed by Deflate with a predictor when it is added."""

    def __init__(self) -> None:
        self._parts, self._size, self._link = [b"II*\0", struct.pack("<I", 8)], 8, 1

    def add(self, samples: Samples, directory: Directory, icc: bytes) -> None:
        """Adds a page.

        Args:
            samples: (H, W, 3), or (H, W, 4) with unassociated alpha.
            directory: its metadata; it gets the tags of the samples.
            icc: its profile, or nothing.

        Raises:
            ValueError: the file would exceed 4 GiB.
        """
        strips = list(_strips(samples))
        whole = _described(samples, directory, icc, [len(strip) for strip in strips]).tobytes(self._size)
        packed = sum(map(len, strips))
        padding = bytes(packed % 2)
        size = self._size + len(whole) + packed + len(padding)
        if size >= 1 << 32:
            raise ValueError("a TIFF of more than 4 GiB")
        self._parts[self._link] = self._parts[self._link][:-4] + struct.pack("<I", self._size)
        head = 2 + 12 * int.from_bytes(whole[:2], "little") + 4  # the last 4 bytes lead to the next page
        self._link, self._size = len(self._parts), size
        self._parts += [whole[:head], whole[head:], *strips, padding]

    def content(self) -> bytes:
        """Returns the file."""
        return b"".join(self._parts)


def _described(samples: Samples, directory: Directory, icc: bytes, sizes: list[int]) -> Directory:
    """Adds the tags of the samples' storage to a directory; Pillow moves the offsets behind the directory."""
    height, width, channels = samples.shape
    directory[_WIDTH], directory[_LENGTH] = width, height
    directory[_BITS] = (8 * samples.dtype.itemsize,) * channels
    directory[_COMPRESSION], directory[_PHOTOMETRIC], directory[_CHANNELS] = _DEFLATE, _RGB, channels
    directory[_PLANAR], directory[_PREDICTOR], directory[_FORMAT] = 1, 2, (1,) * channels
    directory[_STRIP_ROWS] = _rows_of_a_strip(samples)
    for tag, values in ((_STRIP_OFFSETS, [0, *itertools.accumulate(sizes[:-1])]), (_STRIP_SIZES, sizes)):
        directory.tagtype[tag] = 4
        directory[tag] = tuple(values)
    if channels == 4:
        directory[_EXTRA] = 2
    if icc:
        directory.tagtype[_PROFILE] = 7
        directory[_PROFILE] = icc
    return directory


def _strips(samples: Samples) -> Iterator[bytes]:
    """Yields the compressed strips: each sample as its difference from the one to the left."""
    rows = _rows_of_a_strip(samples)
    for top in range(0, len(samples), rows):
        part = samples[top : top + rows]
        difference = np.concatenate((part[:, :1], part[:, 1:] - part[:, :-1]), axis=1)
        yield zlib.compress(difference.astype(f"<u{samples.dtype.itemsize}", copy=False).tobytes())


def _rows_of_a_strip(samples: Samples) -> int:
    return max(1, _STRIP_BYTES // int(samples[0].nbytes))
