"""Views of a run while it runs: one live table on a terminal, plain lines elsewhere, or nothing."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from components.shared.machine.progress import Position
from components.shared.machine.verbosity import is_quiet
from pipeline.steps import steps

_STYLES = {"done": "green", "reused": "cyan", "failed": "red", "interrupted": "yellow", "running": "bold"}
_BAR = 16  # columns


class View:
    """Shows nothing: what --quiet asks for. The others override what they show.

    Args:
        names: the steps of the run, as the journal names them, and as people see them.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = dict(names)
        self._ahead = list(names)[:-1]  # the exit task runs in any case
        self._cached = {step.name for step in steps() if step.cached}

    def __enter__(self) -> "View":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def begins(self, step: str) -> None:
        """Takes note that a step has begun; the cached ones before it, which have not, are reused."""
        while step in self._ahead:
            passed = self._ahead.pop(0)
            if passed != step and passed.split()[0] in self._cached:
                self.ends(passed, "reused", None)

    def ends(self, step: str, outcome: str, seconds: float | None) -> None:
        """Takes note that a step has ended; `seconds` is None for one that is reused."""

    def moves(self, position: Position) -> None:
        """Takes note of how far the step at work has come; comes several times a second."""

    def says(self, line: str) -> None:
        """Takes a line that a step has printed."""

    def reports(self, position: Position) -> None:
        """Takes what a log says of how far a step has come; comes every ten seconds and at the end."""


class Lines(View):
    """Prints lines on stderr, for a log, a pipe and a terminal that cannot do more."""

    def ends(self, step: str, outcome: str, seconds: float | None) -> None:
        """Prints how a step ended."""
        self.says(f"{self.names.get(step, step)}: {outcome}" + ("" if seconds is None else f", {seconds:.1f} s"))

    def says(self, line: str) -> None:
        """Prints a line of a step."""
        print(line, file=sys.stderr, flush=True)

    def reports(self, position: Position) -> None:
        """Prints how far a step has come."""
        self.says(position.sentence)


@dataclass(frozen=True)
class _Row:
    name: str
    outcome: str = "waiting"
    seconds: float | None = None
    began: float = 0


class LiveTable(View):
    """Keeps a table of all steps on the terminal up to date; what steps print scrolls by above it."""

    def __init__(self, names: Mapping[str, str], console: Console) -> None:
        super().__init__(names)
        self._rows = {step: _Row(shown) for step, shown in names.items()}
        self._position: Position | None = None
        self._live = Live(self, console=console, refresh_per_second=4, redirect_stdout=False)

    def __enter__(self) -> "LiveTable":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for step, row in self._rows.items():
            if row.outcome in ("waiting", "running"):
                self._rows[step] = replace(row, outcome="not run" if row.outcome == "waiting" else "failed")
        self._live.stop()

    def begins(self, step: str) -> None:
        """Shows a step at work."""
        super().begins(step)
        self._position = None
        if step in self._rows:
            self._rows[step] = replace(self._rows[step], outcome="running", began=time.monotonic())

    def ends(self, step: str, outcome: str, seconds: float | None) -> None:
        """Shows how a step ended."""
        self._position = None
        if step in self._rows:
            self._rows[step] = replace(self._rows[step], outcome=outcome, seconds=seconds)

    def moves(self, position: Position) -> None:
        """Moves the bar of the step at work."""
        self._position = position

    def says(self, line: str) -> None:
        """Prints a line of a step above the table."""
        self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(max_width=24, no_wrap=True, overflow="ellipsis")
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, width=_BAR)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for row in self._visible():
            at_work = row.outcome == "running"
            seconds = time.monotonic() - row.began if at_work else row.seconds
            table.add_row(
                row.name,
                Text(row.outcome, _STYLES.get(row.outcome, "dim")),
                "" if seconds is None else f"{seconds:.0f} s",
                *(self._bar() if at_work else ("", "")),
            )
        return table

    def _bar(self) -> tuple[ProgressBar | str, str]:
        at = self._position
        if at is None:
            return "", ""
        left = "" if at.ended or not at.rate else f", {at.left:.0f} s left"
        return ProgressBar(total=at.total, completed=at.done, width=_BAR), f"{at.done} of {at.total} {at.unit}{left}"

    def _visible(self) -> list[_Row]:
        """Returns the rows that fit on the screen, around the step at work."""
        rows = list(self._rows.values())
        room = self._live.console.height - 2
        ended = next((number for number, row in enumerate(rows) if row.outcome in ("waiting", "running")), 0)
        first = max(0, min(ended - 2, len(rows) - room))
        return rows[first : first + room]


def view(names: Mapping[str, str]) -> View:
    """Returns the view that suits stderr and --quiet.

    Args:
        names: the steps of the run, as the journal names them, and as people see them.
    """
    if is_quiet():
        return View(names)
    console = Console(stderr=True)
    if sys.stderr.isatty() and not console.is_dumb_terminal:
        return LiveTable(names, console)
    return Lines(names)
