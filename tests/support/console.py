"""Runner of the ```console blocks of a docs page, which compares the printed lines with those on the page."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Command:
    """Holds a line that begins with "$ " and the lines that the page shows below it."""

    text: str
    shown: tuple[str, ...]


def commands(page: Path) -> list[Command]:
    """Returns all commands of a page, in order."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            text, *shown = piece.splitlines()
            found.append(Command(text, tuple(line.rstrip() for line in shown if line.strip())))
    return found


class Terminal:
    """Keeps one shell session, so that `cd` and `export` last from command to command."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, text: str) -> tuple[int, list[str]]:
        """Runs a command; returns its exit status and the printed lines."""
        assert self._shell.stdin
        assert self._shell.stdout
        self._shell.stdin.write(f'{text}\necho "--done-- $?"\n')
        self._shell.stdin.flush()
        lines: list[str] = []
        for line in self._shell.stdout:
            before, done, status = line.rstrip("\n").partition("--done-- ")
            if before.strip():
                lines.append(before.rstrip())
            if done:
                return int(status), lines
        raise AssertionError(f"the shell ended in: {text}")

    def close(self) -> None:
        self._shell.kill()
        self._shell.communicate()


def difference(shown: tuple[str, ...], printed: list[str]) -> str:
    """Returns the first shown line that was not printed (after the ones before it); empty when all were.

    A line "..." stands for any lines, and "..." in a line for anything. The page may leave
    lines out at the end.
    """
    rest = iter(printed)
    for line in shown:
        if line == "...":
            continue
        pattern = ".*".join(re.escape(part) for part in line.split("..."))
        if not any(re.fullmatch(pattern, candidate) for candidate in rest):
            return line
    return ""
