"""Old names on the command line and what they are called now. Delete this file in the next release."""

import sys
from collections.abc import Sequence

RENAMED = {
    ("run", "--sweep"): "colorize run --variants",
    ("submit", "--sweep"): "colorize submit --variants",
    ("schedule", "--check"): "colorize schedule diff --exit-code",
}
"""Command and its old option -> the new command."""


def reject_old_names(arguments: Sequence[str]) -> None:
    """Ends the program with status 2 and the new name if the arguments hold an old one."""
    for (command, option), new in RENAMED.items():
        given = {argument.partition("=")[0] for argument in arguments[1:]}
        if arguments[:1] == [command] and option in given:
            print(f"`colorize {command} {option}` is now `{new}`.", file=sys.stderr)
            raise SystemExit(2)
