"""The blocks of docs/operate/cluster.md, and a walk that runs them from top to bottom in one shell."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.dvc_project import ROOT

PAGE = ROOT / "docs" / "operate" / "cluster.md"
RECIPE, SETTINGS = "RECIPE=demo", "COLORIZE_CLUSTER=pipeline/cluster/local.yaml"
WEBHOOK = "https://chat.example.com/hooks/colorizer"
"""Words of the page in whose place the suite writes its own: a smaller recipe, settings with smaller requests, and the
receiver of its webhook."""

MAKE_ADMINISTRATOR = (
    'curl -s -o /dev/null -w "%{http_code}" -X PATCH -u "colorizer:$MLFLOW_TRACKING_PASSWORD" '
    "-H 'Content-Type: application/json' $MLFLOW_TRACKING_URI/api/2.0/mlflow/users/update-admin "
    """-d '{"username": "colorizer", "is_admin": true}'"""
)
"""Command in which MLflow's user asks to be an administrator; prints the status of the answer."""

_FORWARD = re.compile(r"kubectl -n (\S+) port-forward (\S+) (\d+):(\d+) &")
_NOT_RUN = re.compile(r"<!-- not run: (\S.*) -->")


@dataclass(frozen=True)
class Block:
    """Holds a console block of the page.

    Attributes:
        section: The heading above it.
        commands: Its commands, in order.
        reason: Why the suite does not run it; empty when it does.
    """

    section: str
    commands: tuple[str, ...]
    reason: str = ""


def blocks(text: str) -> list[Block]:
    """Returns the console blocks of a page, in order."""
    found: list[Block] = []
    section = reason = ""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("```"):
            inside = []
            for inner in lines:
                if inner == "```":
                    break
                inside.append(inner)
            if line == "```console":
                commands = tuple(one.removeprefix("$ ") for one in inside if one.startswith("$ "))
                found.append(Block(section, commands, reason))
            reason = ""
        elif heading := re.fullmatch(r"#+ (.*)", line):
            section, reason = heading[1], ""
        elif marked := _NOT_RUN.fullmatch(line):
            reason = marked[1]
        elif line:
            reason = ""
    return found


class Shell:
    """Runs commands one after the other, each in a bash of its own that begins with the variables and functions of
    the one before. So a command that hangs ends alone."""

    def __init__(self, folder: Path, environment: Mapping[str, str], state: Path) -> None:
        self.folder, self._environment, self._state = folder, dict(environment), state
        state.touch()

    def run(self, command: str, seconds: float = 300) -> str:
        """Returns what a command prints, errors included.

        Raises:
            AssertionError: it ends with another status than 0, or takes longer than `seconds`.
        """
        keep = f"{{ export -p; declare -f; }} > '{self._state}.new' && mv '{self._state}.new' '{self._state}'"
        script = f"source '{self._state}'; set -a\n{command}\nstatus=$?; {keep}; exit $status"
        with subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-c", script],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                printed, _ = process.communicate(timeout=seconds)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                printed, _ = process.communicate()
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                raise AssertionError(f"{seconds:g} s were not enough: $ {command}\n{printed[-6000:]}") from None
        assert process.returncode == 0, f"status {process.returncode}: $ {command}\n{printed[-6000:]}"
        return printed

    def variable(self, name: str) -> str:
        """Returns a variable that an earlier command set; empty when none did."""
        return self.run(f'printf %s "${name}"')


class Walk:
    """Runs the blocks of the page in order, as far as they are asked for, each once.

    Attributes:
        shell: Its shell.
        printed: What each section printed.
    """

    def __init__(
        self, page: list[Block], shell: Shell, words: Mapping[str, str], forward: Callable[[str, str, int, int], None]
    ) -> None:
        self.shell = shell
        self.printed: dict[str, str] = {}
        self._rest = [block for block in page if not block.reason]
        self._words, self._forward = words, forward
        self._failed = ""

    def reach(self, section: str, seconds: float = 900) -> str:
        """Runs all that comes before the end of a section and has not run; returns what the section printed.

        Raises:
            AssertionError: a command failed, now or on the way to an earlier section.
        """
        assert not self._failed, f"the page ended early, in {self._failed}"
        if section not in self.printed:
            last = max(number for number, block in enumerate(self._rest) if block.section == section)
            for block in self._rest[: last + 1]:
                self._failed = block.section
                self.printed.setdefault(block.section, "")
                for command in block.commands:
                    self.printed[block.section] += self._run(command, seconds)
            del self._rest[: last + 1]
            self._failed = ""
        return self.printed[section]

    def _run(self, command: str, seconds: float) -> str:
        for ours, replacement in self._words.items():
            command = command.replace(ours, replacement)
        if found := _FORWARD.fullmatch(command):
            self._forward(found[1], found[2], int(found[3]), int(found[4]))
            return ""
        return self.shell.run(command, seconds)
