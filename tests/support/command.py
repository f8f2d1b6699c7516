"""Runner of the command line: in this process, which saves the start of another, or in one of its own."""

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from unittest import mock

from pipeline import ROOT
from pipeline.cli.main import main


def colorize(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs `colorize` with these arguments and returns its status and what it prints."""
    out, err, status = StringIO(), StringIO(), 0
    with (
        mock.patch.dict(os.environ),
        mock.patch.object(sys, "argv", ["colorize", *arguments]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


COLORIZE = (sys.executable, "-m", "pipeline.cli.main")
"""The command line in a process of its own."""


def environment(**more: str) -> dict[str, str]:
    """Returns the environment for `COLORIZE` in any folder, whose workspace/ it uses."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLORIZE_WORKSPACE": "workspace"} | more
