"""Context managers for signals: other handlers, deferral, and SIGTERM as an exception."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from model.utils.errors import Interrupted

Handler = Callable[..., object] | signal.Handlers

_RETRY_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@contextmanager
def handled(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    """Sets handlers for the block and restores the previous ones.

    Outside the main thread, which receives no signals in Python, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with(parent: int) -> None:
    """Has Linux kill this process when its parent dies, and kills it if the parent is dead already."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def deferred() -> Iterator[None]:
    """Defers SIGTERM and Ctrl-C to the end of the block."""
    came: list[int] = []
    signals = (signal.SIGTERM, signal.SIGINT)
    with handled(dict.fromkeys(signals, lambda number, _: came.append(number))):
        yield
    for number in came:
        signal.raise_signal(number)


@contextmanager
def stoppable(words: str) -> Iterator[None]:
    """Turns SIGTERM into an exception that ends the block, so that it cleans up; ignores further SIGTERMs meanwhile.

    Raises:
        Interrupted: SIGTERM or Ctrl-C was received; `words` is the message.
    """

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    def swallowed(unraisable: "sys.UnraisableHookArgs") -> None:
        """Raises SIGTERM again: Python ignores exceptions in destructors and in hooks of a fork."""
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            hook(unraisable)
            return
        signal.signal(signal.SIGTERM, stop)
        threading.Timer(_RETRY_SECONDS, os.kill, (os.getpid(), signal.SIGTERM)).start()

    hook, sys.unraisablehook = sys.unraisablehook, swallowed
    try:
        with handled({signal.SIGTERM: stop}):
            yield
    except KeyboardInterrupt:
        raise Interrupted(words) from None
    finally:
        sys.unraisablehook = hook
