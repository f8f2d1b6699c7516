"""The one exception that a user's mistake raises."""


class UserError(Exception):
    """A mistake a user can mend. The message is one sentence: which file or key, what is wrong, what to do.

    Command lines print it without a traceback and exit with a non-zero status; anything else that escapes is a bug.
    """
