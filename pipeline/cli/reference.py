"""The page docs/reference/cli.md: every command with its arguments, options and defaults."""

import inspect
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from pipeline import ROOT

PAGE = ROOT / "docs" / "reference" / "cli.md"

_EVERYWHERE = ("help", "quiet", "verbose")
_TOP = """\
# Command line

`colorize compile` writes this page from the program. `colorize COMMAND --help` shows the same; `colorize
--install-completion` installs completion for your shell; `colorize --version` shows version and git commit.

Every command takes `--quiet` (`-q`: only results and errors) and `--verbose` (`-v`: the tables of a run, what
libraries log, the traceback of an error), before its name or after it. `COLORIZE_VERBOSITY=quiet` or `verbose` does
the same for all.

Results go to stdout; remarks, progress and errors to stderr. On a terminal a long step has a bar, and `colorize run`
a live table of all steps; elsewhere both are plain lines. `NO_COLOR=1` takes the colors away. A table is as wide as
the terminal, or as `COLUMNS` says; one that does not fit is printed row by row. In a pipe each row is one line.
`--json` is for programs.

| exit status | |
| ---: | --- |
| 0 | done |
| 1 | failed; the last line of stderr says why, and what helps |
| 2 | wrong usage |
| 3 | the gate said no, where `--check` asks |
| 75 | interrupted; the same command resumes |
| 130 | ended by Ctrl-C, with nothing to resume |
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
    own = [parameter for parameter in command.params if parameter.name not in _EVERYWHERE]
    records = [parameter.get_help_record(context) for parameter in own]
    rows = [f"| `{option}` | {_escape(meaning)} |" for option, meaning in filter(None, records)]
    table = ["| option | |", "| --- | --- |", *rows, ""] if rows else []
    return "\n".join([f"## {name}", "", inspect.cleandoc(command.help or ""), "", *table])


def _escape(text: str) -> str:
    return text.replace("<", "\\<").replace("|", "\\|").replace("  [", " [")
