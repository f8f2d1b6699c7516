"""Tests of kill -9 of every step at ten random moments, each followed by another run.

Three laps, each in a workspace of its own. In a lap the run is killed in its first step, started again and killed in
its second, and so on, at a moment drawn from the step's whole life, its imports too: each start shows that the step
killed before it now completes, and that whatever had been finished is reused. Before that start the killed step's very
command is executed and killed twice or three times more. The lap's last run is left alone. In the second lap the run
dies with its step, in the others the step alone. `register` is killed as often in the run of a training that is no
better.
"""

import os
import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.faults.rig import STEPS, Ended, Rig
from tests.faults.soundness import require_sound
from tests.support.small_run import HARD

AGAIN = (3, 2, 2)
"""Number of further kills of a killed step's command, for each lap."""

MOMENTS = len(AGAIN) + sum(AGAIN)
OTHER = ("train.seed=1", *HARD)
"""Overrides: another training, and a gate that it cannot pass."""


@pytest.fixture(scope="module")
def undisturbed(finished: Rig) -> dict[str, float]:
    """Returns the seconds of each step in an undisturbed run."""
    return finished.seconds()


@pytest.fixture(scope="module")
def laps(tmp_path_factory: pytest.TempPathFactory, few: Path, undisturbed: dict[str, float]) -> list["Lap"]:
    laps = [Lap(Rig(tmp_path_factory.mktemp("lap"), few), number, undisturbed) for number in range(len(AGAIN))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(Lap.go, laps))
    return laps


class Lap:
    """Kills the run of one workspace once in every step.

    Attributes:
        kills: step and seconds of its life; what the kill left is sound.
        ends: of the runs whose step alone was killed.
        last: the run that was left alone, and the aliases after it.
    """

    def __init__(self, rig: Rig, number: int, seconds: dict[str, float]) -> None:
        self._rig, self._number, self._seconds = rig, number, seconds
        self._draw = random.Random(number)
        self.kills: list[tuple[str, float]] = []
        self.ends: list[tuple[str, Ended]] = []
        self.last: tuple[Ended, dict[str, int]] | None = None

    def go(self) -> None:
        for step in STEPS:
            self.kill(step)
        self.last = self._rig.run(), self._rig.aliases()
        require_sound(self._rig.workspace)

    def kill(self, step: str, *overrides: str) -> None:
        started = self._rig.start(*overrides)
        process = started.step(step)
        command, environment, place = process.cmdline(), process.environ(), process.cwd()
        moment = self._moment(step)
        with suppress(psutil.TimeoutExpired):  # the step may be faster here than in the undisturbed run
            process.wait(max(0.001, moment - (time.time() - process.create_time())))
        if self._number % 2 or not started.kill_step(process):
            started.kill()
            started.end()
        else:
            self.ends.append((step, started.end()))
        self._killed(step, moment)
        for _ in range(AGAIN[self._number]):
            moment = self._moment(step)
            with subprocess.Popen(
                command, env=environment, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as alone:
                with suppress(subprocess.TimeoutExpired):
                    alone.wait(moment)
                alone.kill()
            self._killed(step, moment)

    def _moment(self, step: str) -> float:
        return self._draw.uniform(0, max(1, self._seconds[step]))

    def _killed(self, step: str, moment: float) -> None:
        self.kills.append((step, moment))
        print(f"lap {self._number}: {step} killed after {moment:.1f} s", flush=True)
        require_sound(self._rig.workspace)


def test_the_last_run_of_each_lap_completes(laps: list[Lap]) -> None:
    for lap in laps:
        assert lap.last
        run, aliases = lap.last
        assert run.status == 0, run.output
        assert aliases == {"challenger": 1, "champion": 1}


def test_every_step_was_killed_at_ten_moments(laps: list[Lap]) -> None:
    for step in STEPS:
        assert len({moment for lap in laps for killed, moment in lap.kills if killed == step}) == MOMENTS == 10


def test_finished_steps_are_reused_after_a_kill(laps: list[Lap]) -> None:
    for lap in laps:
        assert lap.last
        assert lap.last[0].outcomes["merge"] == lap.last[0].outcomes["train"] == "reused"
        for step, ended in lap.ends:
            finished = {*STEPS[1 : max(1, min(STEPS.index(step) - 1, 6))]} - {
                "inspect"
            }  # which looks at the champion anew
            assert all(ended.outcomes[before] == "reused" for before in finished), ended.output


def test_a_run_names_the_killed_step(laps: list[Lap]) -> None:
    _require_killed_step_named(laps)


def _require_killed_step_named(laps: list[Lap]) -> None:
    for step, ended in (end for lap in laps for end in lap.ends):
        assert ended.status == 1, ended.output
        assert ended.outcomes[step] == "failed", ended.output
        assert ended.last_line == (
            f"{step} failed: the process ended without an error message (killed or out of memory); run the same "
            "command again to resume."
        )
        assert "Traceback" not in ended.output


def test_a_killed_registration_of_a_rejected_model_completes_in_the_next_run(
    tmp_path: Path, few: Path, undisturbed: dict[str, float]
) -> None:
    rig = Rig(tmp_path, few)
    assert rig.run().status == 0
    laps = [Lap(rig, number, undisturbed) for number in range(len(AGAIN))]
    for lap in laps:
        lap.kill("register", *OTHER)
    assert len({moment for lap in laps for _, moment in lap.kills}) == MOMENTS
    run = rig.run(*OTHER)
    assert run.status == 0, run.output
    assert run.outcomes["promote"] == "not run"
    assert "Version 2 is not promoted (reject): " in run.output
    assert run.outcomes["train"] == run.outcomes["evaluate"] == "reused"
    assert rig.aliases() == {"challenger": 2, "champion": 1}
    _require_killed_step_named(laps)
