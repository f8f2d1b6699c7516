"""The exceptions that are no bugs: a user's mistake, damaged files, and an interruption that can be resumed."""

from pathlib import Path


class UserError(Exception):
    """A mistake a user can mend. The message is one sentence: which file or key, what is wrong, what to do.

    Command lines print it without a traceback and exit with a non-zero status; anything else that escapes is a bug.
    """


class Damaged(UserError):  # noqa: N818 - a UserError by what it says
    """A step's output is not as it was written.

    Attributes:
        folder: what must be made anew.
    """

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message)
        self.folder = folder


class TrainingFailed(UserError):  # noqa: N818 - a UserError by what it says
    """Training produced a number that is not finite; it ends and saves nothing from there on."""


class Interrupted(Exception):  # noqa: N818 - not an error
    """Training was asked to stop (SIGTERM), saved its state, and goes on from there when started again."""
