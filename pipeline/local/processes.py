"""Starts the steps of a local run with lists of arguments, in place of kfp.local's own way through a shell.

kfp's shell splits the interpreter's path at a space, and kfp puts that path for `python3` into every argument.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kfp.local import subprocess_task_handler
from kfp.local.status import Status

_at_work: set["subprocess.Popen[str]"] = set()
_told_to_stop: set[int] = set()
"""Processes that `terminate` ended or tried to."""


@contextmanager
def started_here() -> Iterator[None]:
    """Lets kfp.local start steps by `_Step`."""
    _told_to_stop.clear()
    theirs = subprocess_task_handler.SubprocessTaskHandler
    subprocess_task_handler.SubprocessTaskHandler = _Step
    try:
        yield
    finally:
        subprocess_task_handler.SubprocessTaskHandler = theirs


def terminate() -> bool:
    """Sends SIGTERM to the steps at work; tells whether there is one."""
    processes = list(_at_work)
    for process in processes:
        _told_to_stop.add(process.pid)
        process.terminate()
    return bool(processes)


def stopped() -> bool:
    """Tells whether a step of the last run was told to stop; one that still loaded its libraries left no word of it."""
    return bool(_told_to_stop)


class _Step(subprocess_task_handler.SubprocessTaskHandler):  # type: ignore[misc]
    """Runs a step's compiled command: sh, -ec, a script for the shell, the step's source, its arguments."""

    def run(self) -> Status:
        source, *arguments = self.full_command[3:]
        with tempfile.TemporaryDirectory(prefix="colorize-step-") as folder:
            module = Path(folder, "ephemeral_component.py")
            module.write_text(source, encoding="utf-8")
            command = [sys.executable, "-m", "kfp.dsl.executor_main", "--component_module_path", str(module)]
            return Status.SUCCESS if self._ended([*command, *arguments]) == 0 else Status.FAILURE

    def _ended(self, command: list[str]) -> int:
        """Prints what a process says, as it says it, and returns its exit status."""
        environment = {**os.environ, **self.env_vars, "_KFP_RUNTIME": "true"}
        with subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as process:
            _at_work.add(process)
            try:
                for line in process.stdout or ():
                    print(line, end="")
                return process.wait()
            finally:
                _at_work.discard(process)
