"""Tests of the memory that ICC profiles take: large ones are not read, and few are kept."""

import tracemalloc

import numpy as np

from model.data import profiles
from model.data.images import decode
from tests.model.data.test_metadata import icc_profile
from tests.support.tiff_files import tiff

GRAY = np.full((16, 16, 1), 40, np.uint32)


def test_a_profile_above_four_megabytes_is_not_read_as_one():
    large = icc_profile(1.0).ljust(profiles.MAX_BYTES + 1, b"\0")
    photograph = decode(tiff([GRAY], 8, 1, tags={34675: (7, large)}))
    assert (photograph.rgb == 40).all(), "gamma 1 would brighten it"
    assert photograph.icc == b""
    small = decode(tiff([GRAY], 8, 1, tags={34675: (7, icc_profile(1.0))}))
    assert (small.rgb > 90).all()


def test_large_profiles_leave_no_memory_behind():
    decode(tiff([GRAY], 8, 1, tags={34675: (7, icc_profile(2.0))}))
    tracemalloc.start()
    for number in range(20):
        padded = icc_profile(1.0 + number / 100).ljust(3 << 20, b"\0")
        decode(tiff([GRAY], 8, 1, tags={34675: (7, padded)}))
    del padded
    left = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert left < 2 << 20, "20 profiles of 3 MiB"
