"""Time limits that end a test which hangs, and which a busy machine does not exceed."""

import os


def patience(seconds: float) -> float:
    """Returns a limit that grows with the load of the machine.

    Args:
        seconds: limit where no core does anything else.
    """
    waiting = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * max(2.0, 2 * waiting)
