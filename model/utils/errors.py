"""Exceptions other than bugs: mistakes of users, damaged files, interruptions that can be resumed."""

from pathlib import Path


class UserError(Exception):
    """Reports a mistake that the user can correct. The message names the file or key, the problem and the remedy.

    Command lines print it without a traceback and exit with a non-zero status; any other uncaught exception is a bug.
    """


class Damaged(UserError):  # noqa: N818 - a UserError by what it says
    """Reports that a step's output differs from what was written.

    Attributes:
        folder: the output that must be created again.
    """

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message)
        self.folder = folder


class TrainingFailed(UserError):  # noqa: N818 - a UserError by what it says
    """Training produced a number that is not finite; it ends and saves nothing from there on."""


class Interrupted(Exception):  # noqa: N818 - not an error
    """Reports that a program stopped on request; training has saved its state and resumes from it."""
