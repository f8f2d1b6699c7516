"""The page docs/reference/cli.md: every command with its arguments, options and defaults."""

import inspect
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from pipeline import ROOT

PAGE = ROOT / "docs" / "reference" / "cli.md"

_TOP = """\
# Command line

`colorize compile` writes this page from the program. `colorize COMMAND --help` shows the same; `colorize
--install-completion` installs completion for your shell; `colorize --version` shows version and git commit.

Results go to stdout, progress and errors to stderr. Exit status: 0; 1 for a user's mistake; 2 for wrong usage; 75 when
interrupted, and the same command resumes.
"""


def text() -> str:
    """Returns the page as Markdown."""
    from pipeline.cli.main import app

    return "\n".join([_TOP, *_sections(get_command(app), "colorize")])


def _sections(command: Any, name: str) -> Iterator[str]:
    context = command.context_class(command)
    for word in command.list_commands(context):
        each = command.get_command(context, word)
        if hasattr(each, "list_commands"):
            yield from _sections(each, f"{name} {word}")
        elif not each.hidden:
            yield _section(each, f"{name} {word}")


def _section(command: Any, name: str) -> str:
    context = command.context_class(command)
    records = [parameter.get_help_record(context) for parameter in command.params if parameter.name != "help"]
    rows = [f"| `{option}` | {_escape(meaning)} |" for option, meaning in filter(None, records)]
    table = ["| option | |", "| --- | --- |", *rows, ""] if rows else []
    return "\n".join([f"## {name}", "", inspect.cleandoc(command.help or ""), "", *table])


def _escape(text: str) -> str:
    return text.replace("<", "\\<").replace("|", "\\|").replace("  [", " [")
