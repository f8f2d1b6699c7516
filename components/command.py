"""How a step ends, whoever started it: a sentence for a user's mistake, an exit status, a line in the run's journal."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from components import tracking
from model.errors import Interrupted, UserError

JOURNAL = "COLORIZE_JOURNAL"
"""Names a file that every step appends its end to: JSON lines of step, seconds, outcome, message, notes."""

RETRY_ME = 75
"""EX_TEMPFAIL of sysexits.h: interrupted, state saved, start the same command again."""


@contextmanager
def step(name: str) -> Iterator[dict[str, str]]:
    """Runs a step's body to a proper end; what the body puts into the yielded mapping goes into the journal's line.

    A UserError becomes one line on stderr and exit status 1, without a traceback; SIGTERM after a saved checkpoint
    becomes status 75. Anything else is a bug and keeps its traceback. In a pipeline run, MLflow is told of each.
    """
    notes: dict[str, str] = {}

    def journal(outcome: str, message: str = "") -> None:
        seconds = round(time.time() - psutil.Process().create_time(), 1)  # imports are part of a step's price
        _append({"step": name, "seconds": seconds, "outcome": outcome, "message": message, "notes": notes})

    try:
        yield notes
    except UserError as error:
        journal("failed", str(error))
        print(f"error: {error}", file=sys.stderr, flush=True)
        _note(name, str(error))
        raise SystemExit(1) from None
    except Interrupted as error:
        journal("interrupted", str(error))
        print(f"interrupted: {error}", file=sys.stderr, flush=True)
        _note(name, str(error))
        raise SystemExit(RETRY_ME) from None
    except Exception as error:
        journal("failed", f"{type(error).__name__}: {error}")
        _note(name, f"{type(error).__name__}: {error}")
        raise
    journal("done")


def _note(name: str, reason: str) -> None:
    with suppress(Exception):  # MLflow may be what it died of
        tracking.note_failure(name, reason)


def _append(entry: dict[str, object]) -> None:
    path = os.environ.get(JOURNAL)
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
