"""How a step ends, whoever started it: a sentence for a user's mistake, an exit status, a line in the run's journal."""

import errno
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import psutil

from components.shared.machine.workspace import workspace
from components.shared.mlflow import runs
from model.utils.errors import Damaged, Interrupted, UserError
from model.utils.signals import handled, stoppable

JOURNAL = "COLORIZE_JOURNAL"
"""Names a file that every step appends its end to: JSON lines of step, seconds, outcome, message, notes."""

DAMAGED = "damaged"
"""Key of a journal's notes: the folder that must be made anew."""

RETRY_ME = 75
"""EX_TEMPFAIL of sysexits.h: interrupted, state saved, start the same command again."""

AGAIN = "start it again: it goes on from what is finished"

_LEAST = 2**16  # bytes
_ADVICE = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EIO: "check the disk",
    errno.EROFS: "make it writable",
    errno.EACCES: "give the user who runs this access",
    errno.EPERM: "give the user who runs this access",
}
_NAMELESS = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # also of a write, which tells no name


@contextmanager
def step(name: str) -> Iterator[dict[str, str]]:
    """Runs a step's body to a proper end; what the body puts into the yielded mapping goes into the journal's line.

    A UserError, and what the disk refuses, becomes one line on stderr and exit status 1, without a traceback; SIGTERM
    and Ctrl-C become status 75. Anything else is a bug and keeps its traceback. In a pipeline run, MLflow is told of
    each.
    """
    notes: dict[str, str] = {}

    def journal(outcome: str, message: str = "") -> None:
        seconds = round(time.time() - psutil.Process().create_time(), 1)  # imports are part of a step's price
        with suppress(OSError):  # of a disk that is full; the message is printed, too
            _append({"step": name, "seconds": seconds, "outcome": outcome, "message": message, "notes": notes})

    try:
        with _at_work(), _undisturbed(), stoppable(f"it was told to stop; {AGAIN}."):
            yield notes
        if os.environ.get(JOURNAL):
            require_room()  # kfp writes a step's outputs down after its end, and has no words for a full disk
    except Interrupted as error:
        journal("interrupted", str(error))
        print(f"interrupted: {error}", file=sys.stderr, flush=True)
        _note(name, str(error))
        raise SystemExit(RETRY_ME) from None
    except Exception as error:
        known = error if isinstance(error, UserError) else refused(error)
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


def refused(error: BaseException) -> UserError | None:
    """What the disk refused, as a sentence; None where an exception has another cause."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, OSError) and cause.errno in _ADVICE and (cause.filename or cause.errno in _NAMELESS):
            where = cause.filename or workspace()
            return UserError(f"{where}: {cause.strerror}; {_ADVICE[cause.errno]}, then {AGAIN}.")
        cause = cause.__cause__ or cause.__context__
    return None


def is_full() -> bool:
    """Whether the workspace's disk has no room for what even the smallest step writes."""
    return shutil.disk_usage(workspace()).free < _LEAST


def require_room() -> None:
    """
    Raises:
        OSError: `is_full`.
    """
    if is_full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(workspace()))


@contextmanager
def at_work(exclusive: bool) -> Iterator[None]:
    """Holds the lock of the workspace's steps: each at work, or nobody.

    Raises:
        BlockingIOError: a step is still at work, and `exclusive` is asked for.
    """
    with (workspace() / "lock-steps").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
        yield


@contextmanager
def _at_work() -> Iterator[None]:
    """A local run that is killed leaves its step behind, and no other may begin before that has ended."""
    with at_work(exclusive=False) if os.environ.get(JOURNAL) else nullcontext():
        yield


def _undisturbed() -> AbstractContextManager[None]:
    """A terminal sends Ctrl-C to a run and to its steps, and the run passes it on."""
    return handled({signal.SIGINT: signal.SIG_IGN}) if os.environ.get(JOURNAL) else nullcontext()


def _note(name: str, reason: str) -> None:
    with suppress(Exception):  # MLflow may be what it died of
        runs.note_failure(name, reason)


def _append(entry: dict[str, object]) -> None:
    path = os.environ.get(JOURNAL)
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
