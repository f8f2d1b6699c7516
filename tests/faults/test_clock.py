"""Tests of clock jumps during a run, hours back and a day forward, made by libfaketime."""

import time
from pathlib import Path

import pytest

from tests.faults.rig import Rig
from tests.faults.soundness import require_sound
from tests.support.small_run import EASY

LIBRARIES = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), *Path("/usr/local/lib").glob("faketime/libfake*.1")]


@pytest.fixture
def clock(rig: Rig) -> Path:
    """Returns the file that sets the offset of the run's clock; timers run on, as with a real clock."""
    if not LIBRARIES:
        pytest.skip("the clock jumps by libfaketime (Debian: apt install faketime)")
    clock = rig.folder / "clock"
    clock.write_text("+0")
    rig.environment = {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    return clock


def test_clock_jumps_affect_neither_runs_nor_aliases_nor_rollback(rig: Rig, clock: Path) -> None:
    champions = []
    for seed, (train, register) in enumerate([("-1h", "-2h"), ("+1d", "-3h")]):
        started = rig.start(f"train.seed={seed}", *EASY)
        for step, jump in (("train", train), ("register", register)):
            started.step(step)
            time.sleep(1)
            clock.write_text(jump)
        run = started.end()
        assert run.status == 0, run.output
        assert "Traceback" not in run.output, run.output
        require_sound(rig.workspace)
        champions.append(rig.aliases()["champion"])
    assert champions == [1, 2]
    assert rig.aliases() == {"challenger": 2, "champion": 2, "previous": 1}

    history = rig.colorize("models", "history")
    assert history.status == 0, history.output
    rolled_back = rig.colorize("rollback")
    assert rolled_back.status == 0, rolled_back.output
    assert rig.aliases()["champion"] == 1
    again = rig.run("train.seed=1", *EASY)
    assert again.status == 0, again.output
    assert again.outcomes["preprocess"] == again.outcomes["train"] == "reused"
