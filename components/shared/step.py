"""The end of a step: a sentence for a user's mistake, an exit status, and a line in the run's journal."""

import errno
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import psutil

from components.shared.machine import records
from components.shared.machine.code import require_submitted
from components.shared.machine.workspace import workspace
from components.shared.mlflow import runs
from model.utils.errors import Damaged, Interrupted, UserError
from model.utils.files import append_line
from model.utils.signals import handled, stoppable

JOURNAL = "COLORIZE_JOURNAL"
"""Environment variable of a file to which every step appends its end: JSON lines of step, seconds, outcome, message,
notes."""

DAMAGED = "damaged"
"""Key of a journal's notes: the folder that must be made again."""

RETRY_ME = 75
"""Exit status of an interrupted step whose state is saved: EX_TEMPFAIL of sysexits.h."""

AGAIN = "run the same command again to resume"

_LEAST = 2**16  # bytes that even the smallest step writes
_ADVICE = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EIO: "check the disk",
    errno.EROFS: "make it writable",
    errno.EACCES: "give the user who runs this access",
    errno.EPERM: "give the user who runs this access",
}
_NAMELESS = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # a failed write raises these, too, without a file name


@contextmanager
def step(name: str, **code: str) -> Iterator[dict[str, str]]:
    """Runs the body of a step and ends it properly; yields a mapping of notes for the journal's line.

    A UserError or an error of the disk becomes one line on stderr and exit status 1, without a traceback. SIGTERM and
    Ctrl-C become status 75. Any other exception is a bug and keeps its traceback. In a pipeline run, the step's MLflow
    run gets the reason of each failure.

    Args:
        name: of the step, in the journal and in MLflow.
        code: hash of the code that the run was submitted with, by the step's folder; an image with other code fails.
    """
    notes: dict[str, str] = {}
    records.send(step=name)

    def journal(outcome: str, message: str = "") -> None:
        seconds = round(time.time() - psutil.Process().create_time(), 1)  # imports count
        with suppress(OSError):  # the disk may be full; the message is printed as well
            _append({"step": name, "seconds": seconds, "outcome": outcome, "message": message, "notes": notes})
        records.send(step=name, seconds=seconds, outcome=outcome)

    try:
        with _marked_at_work(), _ctrl_c_ignored(), stoppable(f"it was told to stop; {AGAIN}."):
            require_submitted(code)
            yield notes
        if os.environ.get(JOURNAL):
            require_room()  # kfp writes the outputs after this, and its error on a full disk is a traceback
    except Interrupted as error:
        journal("interrupted", str(error))
        print(f"interrupted: {error}", file=sys.stderr, flush=True)
        _note(name, str(error))
        raise SystemExit(RETRY_ME) from None
    except Exception as error:
        known = error if isinstance(error, UserError) else disk_error(error)
        if isinstance(known, Damaged):
            notes[DAMAGED] = str(known.folder)
        reason = str(known or f"{type(error).__name__}: {error}")
        journal("failed", reason)
        if known:
            print(f"error: {known}", file=sys.stderr, flush=True)
        _note(name, reason)
        if known:
            raise SystemExit(1) from None
        raise
    journal("done")


def disk_error(error: BaseException) -> UserError | None:
    """Returns an error of the disk as a sentence; None where the exception has another cause."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, OSError) and cause.errno in _ADVICE and (cause.filename or cause.errno in _NAMELESS):
            where = cause.filename or workspace()
            return UserError(f"{where}: {cause.strerror}; {_ADVICE[cause.errno]}, then {AGAIN}.")
        cause = cause.__cause__ or cause.__context__
    return None


def is_full() -> bool:
    """Returns True when the workspace's disk has no room for the output of even the smallest step."""
    return shutil.disk_usage(workspace()).free < _LEAST


def require_room() -> None:
    """Checks that the workspace's disk has room.

    Raises:
        OSError: ENOSPC, it has none.
    """
    if is_full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(workspace()))


@contextmanager
def at_work(exclusive: bool) -> Iterator[None]:
    """Holds the lock of the workspace's steps, shared or exclusive.

    Args:
        exclusive: requires that no step is at work, and keeps others from beginning.

    Raises:
        BlockingIOError: `exclusive`, and a step is still at work.
    """
    with (workspace() / "lock-steps").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
        yield


@contextmanager
def _marked_at_work() -> Iterator[None]:
    """Marks a step of a local run as at work: a killed run leaves its step behind, and the next run waits for it."""
    with at_work(exclusive=False) if os.environ.get(JOURNAL) else nullcontext():
        yield


def _ctrl_c_ignored() -> AbstractContextManager[None]:
    """Ignores Ctrl-C in a local run: the terminal sends it to the run, too, which passes it on as SIGTERM."""
    return handled({signal.SIGINT: signal.SIG_IGN}) if os.environ.get(JOURNAL) else nullcontext()


def _note(name: str, reason: str) -> None:
    with suppress(Exception):  # MLflow may be the cause of the failure
        runs.note_failure(name, reason)


def _append(entry: dict[str, Any]) -> None:
    path = os.environ.get(JOURNAL)
    if path:
        append_line(Path(path), entry)
