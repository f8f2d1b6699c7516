"""Filter of what kfp.local prints: the view of the run gets what the steps say, and a log gets everything."""

import builtins
import contextlib
import io
import json
import logging
import re
import time
import warnings
from collections.abc import Iterator
from typing import Any, TextIO

from components.shared.machine import records
from components.shared.machine.progress import SECONDS_BETWEEN_LINES, Position
from pipeline.local.view import View

_OUTCOME = '{"outcome": '  # how the line of the exit task begins
_WARNING = re.compile(r"\[KFP Executor [^]]* WARNING\]: (.*)")


@contextlib.contextmanager
def quiet(view: View, log: TextIO) -> Iterator["StepLines"]:
    """Silences kfp's account of every task; what the steps say remains."""
    logging.disable(logging.ERROR)
    printing = builtins.print  # kfp's threads, of a loop, replace it and do not put it back in order
    try:
        with contextlib.redirect_stdout(StepLines(view, log)) as said, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*(no effect in the current local runner|non-Python base image)")
            yield said
    finally:
        builtins.print = printing
        logging.disable(logging.NOTSET)


class StepLines(io.TextIOBase):
    """Keeps all that is printed in a log, and passes on what the steps say to the view of the run.

    It drops what kfp adds: rules, blank lines, indentation, and its executor's account of its input, which is a line
    that begins with "[KFP Executor" and JSON between two lone braces. `outcome` is the line of JSON of the exit task.
    """

    def __init__(self, view: View, log: TextIO) -> None:
        self.outcome: dict[str, Any] = {}
        self._view, self._log = view, log
        self._line, self._in_json = "", False
        self._reported = time.monotonic()

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            if record := records.read(line):
                self._take(record)
                continue
            self._keep(line)
            content = line.strip()
            if content == "{" or self._in_json:
                self._in_json = line.rstrip() != "    }"
            elif content.startswith(_OUTCOME):
                with contextlib.suppress(ValueError):  # another process wrote into the line
                    self.outcome = json.loads(content)
            elif warning := _WARNING.match(content):
                self._view.says(f"warning: {warning[1]}")
            elif content.strip("-") and not content.startswith("[KFP Executor"):
                self._view.says(content)
        return len(text)

    def _keep(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a full disk must not break the pipe that the step speaks through
            self._log.write(line + "\n")
            self._log.flush()

    def _take(self, record: dict[str, Any]) -> None:
        """Takes a record of a step: that it begins or ends, or how far it has come."""
        if "progress" in record:
            position = Position(**record["progress"])
            self._view.moves(position)
            if position.ended or time.monotonic() - self._reported >= SECONDS_BETWEEN_LINES:
                self._reported = time.monotonic()
                self._keep(position.sentence)
                self._view.reports(position)
        elif "outcome" in record:
            self._view.ends(record["step"], record["outcome"], record["seconds"])
        else:
            self._reported = time.monotonic()
            self._view.begins(record["step"])
