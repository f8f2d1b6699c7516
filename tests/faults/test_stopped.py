"""SIGTERM to the run and to its steps; a run that is killed while its step lives on; two runs at once."""

import os
import signal
import time

import psutil
import pytest

from tests.faults.rig import Rig
from tests.faults.soundness import require_sound

RETRY_ME = 75


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_run_that_is_told_to_stop_takes_its_training_along(rig: Rig, number: signal.Signals) -> None:
    started = rig.start("train.images=1600")
    step = started.step("train")
    while not list(rig.workspace.glob("checkpoints/*/checkpoint-*")):
        time.sleep(0.02)
    if number == signal.SIGINT:
        started.kill(number)  # a terminal sends it to all
    else:
        os.kill(started.process.pid, number)
    run = started.end()
    assert not step.is_running()
    assert run.status == RETRY_ME, run.output
    assert run.outcomes["train"] == "interrupted"
    assert "of 1600 images are trained and saved in" in run.last_line
    assert run.last_line.endswith("; run the same command again to resume")
    assert "Traceback" not in run.output, run.output
    require_sound(rig.workspace)
    images = int(run.last_line.split()[2])
    again = rig.run("train.images=1600")
    assert again.status == 0, again.output
    assert images > 0


def test_any_step_that_is_told_to_stop_clears_up(rig: Rig) -> None:
    for step in ("preprocess", "evaluate", "register", "promote"):
        started = rig.start()
        process = started.step(step)
        while not _has_begun(process):
            time.sleep(0.01)
        time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        run = started.end()
        assert run.status == RETRY_ME, run.output
        assert run.outcomes[step] == "interrupted"
        assert run.last_line == (f"{step} interrupted: it was told to stop; run the same command again to resume.")
        assert "Traceback" not in run.output, run.output
        assert not list(rig.workspace.glob("pipeline/*/*/.*.partial"))
        require_sound(rig.workspace)
    again = rig.run()
    assert again.status == 0, again.output
    assert rig.aliases() == {"challenger": 1, "champion": 1}


def _has_begun(process: psutil.Process) -> bool:
    """Whether a step has all imported that it starts with: it holds the lock of the workspace's steps."""
    return any(file.path.endswith("lock-steps") for file in process.open_files())


def test_no_run_begins_while_a_killed_ones_step_lives_on(rig: Rig) -> None:
    started = rig.start("train.images=40000")
    step = started.step("train")
    while not list(rig.workspace.glob("checkpoints/*/checkpoint-*")):
        time.sleep(0.02)
    os.kill(started.process.pid, signal.SIGKILL)
    started.process.wait()
    step.suspend()  # else it dies of the broken pipe with its next line
    refused = rig.run("train.images=40000")
    assert refused.status == 1
    assert refused.output == (
        f"error: {rig.workspace}: another run, or a step of it, is at work here; wait for it to end.\n"
    )
    step.kill()
    step.wait()
    require_sound(rig.workspace)
    again = rig.run()
    assert again.status == 0, again.output


def test_of_two_runs_at_once_one_works_and_the_other_says_so(rig: Rig) -> None:
    first, second = rig.start(), rig.start()
    one, other = sorted((first.end(), second.end()), key=lambda run: run.status)
    assert one.status == 0, one.output
    assert other.status == 1
    assert other.output == (
        f"error: {rig.workspace}: another run, or a step of it, is at work here; wait for it to end.\n"
    )
    assert len(list((rig.workspace / "runs").iterdir())) == 1
    assert rig.aliases() == {"challenger": 1, "champion": 1}
    again = rig.run()
    assert again.status == 0, again.output
