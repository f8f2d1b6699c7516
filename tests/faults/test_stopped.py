"""Tests of SIGTERM to a run and to its steps, of a step that outlives its run, and of two runs at once."""

import os
import signal
import time

import psutil
import pytest

from tests.faults.rig import Rig
from tests.faults.soundness import require_sound

RETRY_ME = 75


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_stop_signal_to_a_run_saves_and_ends_its_training(rig: Rig, number: signal.Signals) -> None:
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


def test_ctrl_c_while_a_step_loads_its_libraries_is_an_interruption(rig: Rig) -> None:
    started = rig.start()
    started.step("resolve")
    started.kill(signal.SIGINT)
    run = started.end()
    assert run.status == RETRY_ME, run.output
    assert run.last_line == "resolve interrupted: it was told to stop; run the same command again to resume."


def test_sigterm_to_a_step_leaves_no_partial_output_and_the_run_resumes(rig: Rig) -> None:
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
    """Returns True after a step's imports: it then holds the lock of the workspace's steps."""
    return any(file.path.endswith("lock-steps") for file in process.open_files())


def test_a_run_is_refused_while_a_step_of_a_killed_run_is_alive(rig: Rig) -> None:
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


def test_one_of_two_simultaneous_runs_completes_and_the_other_is_refused(rig: Rig) -> None:
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
