"""Tests of a disk that is full at the beginning of each step: a small tmpfs, which only root may mount."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.rig import STEPS, Rig, require_clean
from tests.faults.soundness import require_sound


@pytest.fixture
def small_disk(rig: Rig) -> Iterator[Rig]:
    """Yields a rig whose workspace is on a disk of 64 MiB."""
    rig.workspace.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "faults", str(rig.workspace)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root and the right to mount (CAP_SYS_ADMIN)")
    yield rig
    subprocess.run(["umount", "--lazy", str(rig.workspace)], check=True)


def _fill(ballast: Path) -> None:
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk_at_any_step_leaves_no_partial_output_and_the_run_resumes(small_disk: Rig) -> None:
    ballast = small_disk.workspace / "ballast"
    for step in STEPS:
        started = small_disk.start()
        started.step(step)
        _fill(ballast)
        run = started.end()
        ballast.unlink(missing_ok=True)
        print(f"{step}: {run.last_line}")
        require_clean(run)
        assert "make room" in run.last_line, run.output
        require_sound(small_disk.workspace)
    run = small_disk.run()
    assert run.status == 0, run.output
    assert run.outcomes["preprocess"] == run.outcomes["train"] == "reused"
    assert small_disk.aliases() == {"challenger": 1, "champion": 1}
