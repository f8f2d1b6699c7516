"""Printing for commands: results on stdout, everything else on stderr."""

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

_WIDTH = 140  # columns, where stdout is no terminal


def note(text: str) -> None:
    """Prints a remark or progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Prints a result as JSON on stdout."""
    print(json.dumps(value, indent=2))


def print_table(table: "Table") -> None:
    """Prints a table on stdout, as wide as the terminal."""
    from rich.console import Console

    Console(width=None if Console().is_terminal else _WIDTH).print(table)
