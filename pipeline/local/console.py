"""Filter of what kfp.local prints: the terminal gets the lines of the steps, and a log gets everything."""

import builtins
import contextlib
import io
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

_WARNING = re.compile(r"\[KFP Executor [^]]* WARNING\]: (.*)")


@contextlib.contextmanager
def quiet(log: TextIO) -> Iterator[None]:
    """Silences kfp's account of every task; the lines of the steps remain."""
    logging.disable(logging.ERROR)
    printing = builtins.print  # kfp's threads, of a loop, replace it and do not put it back in order
    try:
        with contextlib.redirect_stdout(_StepLines(sys.stdout, log)), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*(no effect in the current local runner|non-Python base image)")
            yield
    finally:
        builtins.print = printing
        logging.disable(logging.NOTSET)


class _StepLines(io.TextIOBase):
    """Keeps all that is printed in a log, and passes the steps' own lines on to the terminal.

    It drops what kfp adds: rules, blank lines, indentation, and its executor's account of its input, which is a line
    that begins with "[KFP Executor" and JSON between two lone braces.
    """

    def __init__(self, terminal: TextIO, log: TextIO) -> None:
        self._terminal, self._log = terminal, log
        self._line, self._in_json = "", False

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            with contextlib.suppress(OSError):  # a full disk must not break the pipe that the step speaks through
                self._log.write(line + "\n")
                self._log.flush()
            content = line.strip()
            if content == "{" or self._in_json:
                self._in_json = line.rstrip() != "    }"
            elif warning := _WARNING.match(content):
                self._terminal.write(f"warning: {warning[1]}\n")
                self._terminal.flush()
            elif content.strip("-") and not content.startswith("[KFP Executor"):
                self._terminal.write(content + "\n")
                self._terminal.flush()
        return len(text)
