"""Progress of a long step: a bar on a terminal, a line every ten seconds in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

_SECONDS_BETWEEN_LINES = 10


@contextmanager
def progress(total: int, label: str, unit: str, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Yields a function that takes the number of further items done; shows progress and remaining time on stderr.

    Args:
        total: number of items; with none, nothing is shown.
        label: begins each line.
        unit: of the items, such as "photographs".
        done: items that an earlier attempt did; they do not count as speed.
    """
    if not total:
        yield lambda more: None
        return
    with (_bar if sys.stderr.isatty() else _lines)(total, label, unit, done) as advance:
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
    started = shown = time.monotonic()
    earlier = done

    def advance(more: int) -> None:
        nonlocal done, shown
        done += more
        now = time.monotonic()
        if now - shown >= _SECONDS_BETWEEN_LINES and done < total:
            shown = now
            rate = (done - earlier) / (now - started)
            left = (total - done) / rate if rate else 0
            print(f"{label}: {done} of {total} {unit}, {_rate(rate)}, {left:.0f} s left", file=sys.stderr, flush=True)

    yield advance
    seconds = time.monotonic() - started
    rate = _rate((done - earlier) / max(seconds, 1e-9))
    print(f"{label}: {done} of {total} {unit} in {seconds:.1f} s, {rate}", file=sys.stderr, flush=True)


def _rate(a_second: float) -> str:
    return f"{a_second:.0f}/s" if a_second >= 10 else f"{a_second:.1f}/s"
