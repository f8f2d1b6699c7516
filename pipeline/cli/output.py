"""Printing for commands: results on stdout, everything else on stderr; and the exit status for the gate's no."""

import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from components.shared.machine.verbosity import note

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["GATE_SAID_NO", "note", "print_json", "print_table"]

GATE_SAID_NO = 3
"""Exit status of a run whose model the gate rejects, where --check asks for it."""

_ENDLESS = 10_000  # columns of a pipe, where each row of a table is one line


def print_json(value: Any) -> None:
    """Prints a result as JSON on stdout."""
    print(json.dumps(value, indent=2))


def print_table(table: "Table", file: TextIO | None = None) -> None:
    """Prints a table as wide as the terminal, or as COLUMNS says; in a pipe as wide as its longest row.

    A table with headings whose words do not fit is printed row by row, a line for each column.

    Args:
        table: to print.
        file: stdout when not given.
    """
    from rich.console import Console

    stream = file or sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS", "").isdecimal() else _ENDLESS
    console = Console(file=stream, width=width)
    if not table.show_header:
        console.print(table)
        return
    if _fits(table, console):
        console.print(table)
    else:
        _print_rows(table, console)


def _fits(table: "Table", console: "Console") -> bool:
    """Sets the widths of the columns, so that no word is cut; returns False where the longest words do not fit."""
    from rich.measure import measure_renderables

    endless = console.options.update(width=_ENDLESS)
    needs = [measure_renderables(console, endless, [column.header, *column.cells]) for column in table.columns]
    widths = [need.minimum for need in needs]
    room = console.width - 3 * len(widths) - 1 - sum(widths)  # what lines and padding leave
    if room < 0:
        return False
    for _ in range(room):
        lacks = [need.maximum - width for need, width in zip(needs, widths, strict=True)]
        if not any(lacks):
            break
        widths[lacks.index(max(lacks))] += 1
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
    return True


def _print_rows(table: "Table", console: "Console") -> None:
    """Prints each row of a table as lines of heading and cell."""
    from rich.table import Table

    if table.title:
        console.print(table.title)
    for row in zip(*(column.cells for column in table.columns), strict=True):
        lines = Table.grid(padding=(0, 2))
        lines.add_column(no_wrap=True, style="bold")
        lines.add_column(overflow="fold")
        for column, cell in zip(table.columns, row, strict=True):
            if cell:
                lines.add_row(column.header, cell)
        console.print(lines)
        console.print()
    if table.caption:
        console.print(table.caption)
