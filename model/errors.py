"""The two exceptions that are no bugs: a user's mistake, and an interruption that can be resumed."""


class UserError(Exception):
    """A mistake a user can mend. The message is one sentence: which file or key, what is wrong, what to do.

    Command lines print it without a traceback and exit with a non-zero status; anything else that escapes is a bug.
    """


class Interrupted(Exception):  # noqa: N818 - not an error
    """Training was asked to stop (SIGTERM), saved its state, and goes on from there when started again."""
