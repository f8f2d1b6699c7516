"""Progress of a long step: a bar on a terminal, a line every ten seconds in a log, records for the view of a run."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from components.shared.machine import records
from components.shared.machine.verbosity import is_quiet

SECONDS_BETWEEN_LINES = 10
_SECONDS_BETWEEN_RECORDS = 0.5


@dataclass(frozen=True)
class Position:
    """Holds how far a step has come, and how fast: items a second of this attempt."""

    label: str
    unit: str
    done: int
    total: int
    seconds: float
    rate: float
    ended: bool

    @property
    def left(self) -> float:
        """Returns the seconds that remain at this rate; 0 where nothing is known of it."""
        return (self.total - self.done) / self.rate if self.rate else 0

    @property
    def sentence(self) -> str:
        """Returns it as a line of a log."""
        counted = f"{self.label}: {self.done} of {self.total} {self.unit}"
        if self.ended:
            return f"{counted} in {self.seconds:.1f} s, {_rate(self.rate)}"
        return f"{counted}, {_rate(self.rate)}, {self.left:.0f} s left"


@contextmanager
def progress(total: int, label: str, unit: str, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Yields a function that takes the number of further items done; shows progress and remaining time on stderr.

    Args:
        total: number of items; with none, nothing is shown, and neither where only results and errors are wanted.
        label: begins each line.
        unit: of the items, such as "photographs".
        done: items that an earlier attempt did; they do not count as speed.
    """
    if not total or (is_quiet() and not records.wanted()):
        yield lambda more: None
        return
    with (_bar if sys.stderr.isatty() and not records.wanted() else _lines)(total, label, unit, done) as advance:
        yield advance


@contextmanager
def _bar(total: int, label: str, unit: str, done: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(unit), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, completed=done)
        yield lambda more: bar.advance(task, more)


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{self._unit}, {_rate(speed)}" if speed else self._unit)


@contextmanager
def _lines(total: int, label: str, unit: str, done: int) -> Iterator[Callable[[int], None]]:
    began = shown = time.monotonic()
    earlier = done
    pause = _SECONDS_BETWEEN_RECORDS if records.wanted() else SECONDS_BETWEEN_LINES

    def show(now: float, ended: bool) -> None:
        seconds = max(now - began, 1e-9)
        position = Position(label, unit, done, total, seconds, (done - earlier) / seconds, ended)
        if records.wanted():
            records.send(progress=asdict(position))
        else:
            print(position.sentence, file=sys.stderr, flush=True)

    def advance(more: int) -> None:
        nonlocal done, shown
        done += more
        now = time.monotonic()
        if now - shown >= pause and done < total:
            shown = now
            show(now, ended=False)

    yield advance
    show(time.monotonic(), ended=True)


def _rate(a_second: float) -> str:
    return f"{a_second:.0f}/s" if a_second >= 10 else f"{a_second:.1f}/s"
