"""Signals handled in another way for a while."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from model.utils.errors import Interrupted

Handler = Callable[..., object] | signal.Handlers

_SOON = 0.1  # seconds


@contextmanager
def handled(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    """Sets these handlers for the block and then those from before; outside the main thread, where Python takes no
    signals, it does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """Has SIGTERM and Ctrl-C wait for the end of the block."""
    came: list[int] = []
    signals = (signal.SIGTERM, signal.SIGINT)
    with handled(dict.fromkeys(signals, lambda number, _: came.append(number))):
        yield
    for number in came:
        signal.raise_signal(number)


@contextmanager
def stoppable(words: str) -> Iterator[None]:
    """Has SIGTERM end the block as an exception does, so that it clears up behind itself, undisturbed by another one.

    Raises:
        Interrupted: with these words: SIGTERM came, or Ctrl-C.
    """

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    def swallowed(unraisable: "sys.UnraisableHookArgs") -> None:
        """Python goes on after an exception in a destructor, or in what is called at a fork."""
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            hook(unraisable)
            return
        signal.signal(signal.SIGTERM, stop)
        threading.Timer(_SOON, os.kill, (os.getpid(), signal.SIGTERM)).start()

    hook, sys.unraisablehook = sys.unraisablehook, swallowed
    try:
        with handled({signal.SIGTERM: stop}):
            yield
    except KeyboardInterrupt:
        raise Interrupted(words) from None
    finally:
        sys.unraisablehook = hook
