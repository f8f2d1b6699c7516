"""Tests of the decoder on mutated photographs: it returns pixels or an ImageError, within seconds and 2 GiB.

`python -m tests.support.run_fuzzing` decodes a range of cases in a process of its own, whose memory is limited.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.patience import patience

SECONDS = 5.0


@pytest.mark.parametrize(
    "cases", [pytest.param(2_000, id="quick"), pytest.param(20_000, id="all", marks=pytest.mark.exhaustive)]
)
def test_mutated_photographs_are_decoded_or_refused_in_bounded_time_and_memory(photos: Path, cases: int):
    photograph = sorted((photos / "scratch").glob("*.jpg"))[0]
    command = [sys.executable, "-m", "tests.support.run_fuzzing", str(photograph), "0", str(cases)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience(280))
    assert done.returncode == 0, f"case {done.stdout.split()[-1]}: {done.stderr[-2000:]}"
    decoded, refused, slowest, case = re.search(
        r"decoded (\d+) refused (\d+) slowest (\S+) s, case (\d+)", done.stdout
    ).groups()
    assert int(decoded) > cases / 20
    assert int(refused) > cases / 5
    assert float(slowest) < SECONDS, f"case {case} takes {slowest} s"
