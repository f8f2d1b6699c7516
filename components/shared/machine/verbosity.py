"""Verbosity: what a program says on stderr: remarks and progress, neither (--quiet), or details too (--verbose)."""

import os
import sys

VARIABLE = "COLORIZE_VERBOSITY"
"""Environment variable: quiet, verbose, or neither. Programs that this one starts inherit it."""


def is_quiet() -> bool:
    """Returns True when only results and errors are wanted."""
    return os.environ.get(VARIABLE) == "quiet"


def is_verbose() -> bool:
    """Returns True when details are wanted, too."""
    return os.environ.get(VARIABLE) == "verbose"


def note(text: str) -> None:
    """Prints a remark on stderr, unless only results and errors are wanted."""
    if not is_quiet():
        print(text, file=sys.stderr, flush=True)
