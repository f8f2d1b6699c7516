"""kill -9 of every step at ten random moments, each time followed by the run again.

Ten laps, each in a workspace of its own. In a lap the run is killed in its first step, started again and killed in its
second, and so on, at a moment drawn from the step's whole life, its imports too: each start shows that the step killed
before it now completes, and that whatever had been finished is reused. The lap's last run is left alone. `reject` is
killed ten times on end, in the run of a training that is no better. In odd laps the run dies with its step, in even
ones the step alone.
"""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.faults.rig import STEPS, Ended, Rig
from tests.faults.soundness import require_sound

LAPS = 10
OTHER = ("train.seed=1", "register.rules.ab_intersection.change=1.0")
"""Another training, and a gate that it cannot pass."""


@pytest.fixture(scope="module")
def undisturbed(finished: Rig) -> dict[str, float]:
    """Seconds of each step's life."""
    seconds = finished.seconds()
    return seconds | {"reject": seconds["report"]}  # which asks MLflow, too


@pytest.fixture(scope="module")
def laps(tmp_path_factory: pytest.TempPathFactory, few: Path, undisturbed: dict[str, float]) -> list["Lap"]:
    laps = [Lap(Rig(tmp_path_factory.mktemp("lap"), few), number, undisturbed) for number in range(LAPS)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(Lap.go, laps))
    return laps


class Lap:
    """One workspace, whose run is killed once in every step.

    Attributes:
        kills: step, seconds of its life, and whether the run died too; what the kill left is sound.
        ends: of the runs whose step alone was killed.
        last: the run that was left alone, and the aliases after it.
    """

    def __init__(self, rig: Rig, number: int, seconds: dict[str, float]) -> None:
        self._rig, self._number, self._seconds = rig, number, seconds
        self._draw = random.Random(number)
        self.kills: list[tuple[str, float, bool]] = []
        self.ends: list[tuple[str, Ended]] = []
        self.last: tuple[Ended, dict[str, int]] | None = None

    def go(self) -> None:
        for step in STEPS:
            self.kill(step)
        self.last = self._rig.run(), self._rig.aliases()
        require_sound(self._rig.workspace)

    def kill(self, step: str, *overrides: str) -> None:
        moment = self._draw.uniform(0, max(1, self._seconds[step]))
        started = self._rig.start(*overrides)
        process = started.step(step)
        with suppress(psutil.TimeoutExpired):  # it may be quicker than without a neighbour
            process.wait(max(0.001, moment - (time.time() - process.create_time())))
        if self._number % 2 or not started.kill_step(process):
            started.kill()
            started.end()
        else:
            self.ends.append((step, started.end()))
        self.kills.append((step, moment, bool(self._number % 2)))
        print(f"lap {self._number}: {step} killed after {moment:.1f} s", flush=True)
        require_sound(self._rig.workspace)


def test_the_run_completes(laps: list[Lap]) -> None:
    for lap in laps:
        assert lap.last
        run, aliases = lap.last
        assert run.status == 0, run.output
        assert aliases == {"challenger": 1, "champion": 1}


def test_every_step_was_killed_at_ten_moments(laps: list[Lap]) -> None:
    for step in STEPS:
        assert len({moment for lap in laps for killed, moment, _ in lap.kills if killed == step}) == LAPS


def test_what_was_finished_is_reused(laps: list[Lap]) -> None:
    for lap in laps:
        assert lap.last
        assert lap.last[0].outcomes["merge"] == lap.last[0].outcomes["train"] == "reused"
        for step, ended in lap.ends:
            finished = STEPS[1 : min(STEPS.index(step) - 1, 6)]  # the one before has just been made up for
            assert all(ended.outcomes[before] == "reused" for before in finished), ended.output


def test_a_run_says_which_step_was_killed(laps: list[Lap]) -> None:
    _says_which(laps)


def _says_which(laps: list[Lap]) -> None:
    for step, ended in (end for lap in laps for end in lap.ends):
        assert ended.status == 1, ended.output
        assert ended.outcomes[step] == "failed", ended.output
        assert ended.last_line == (
            f"{step} failed: it died without a word (killed, or out of memory?); start it again: it goes on from what "
            "is finished."
        )
        assert "Traceback" not in ended.output


def test_a_killed_rejection_is_made_up_for(tmp_path: Path, few: Path, undisturbed: dict[str, float]) -> None:
    rig = Rig(tmp_path, few)
    assert rig.run().status == 0
    laps = [Lap(rig, number, undisturbed) for number in range(LAPS)]
    for lap in laps:
        lap.kill("reject", *OTHER)
    assert len({moment for lap in laps for _, moment, _ in lap.kills}) == LAPS
    run = rig.run(*OTHER)
    assert run.status == 0, run.output
    assert run.outcomes["reject"] == "done"
    assert run.outcomes["train"] == run.outcomes["evaluate"] == "reused"
    assert rig.aliases() == {"challenger": 2, "champion": 1}
    _says_which(laps)
