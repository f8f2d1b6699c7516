"""Stops a forked process at each of its system calls, by ptrace(2), and kills it there."""

import ctypes
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from itertools import count

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_TRACEME, _SYSCALL = 0, 24  # sys/ptrace.h


def stops(body: Callable[[], object]) -> Iterator[int]:
    """Runs a function in a forked process and yields at its every stop, while it is stopped: 1, 2, ...

    Each system call has two stops: before the kernel acts and after. What the disk holds at a stop is what a kill there
    leaves. The process is killed when the caller takes no more.
    """
    child = os.fork()
    if not child:
        _run(body)
    os.waitpid(child, 0)  # `_run` stops itself
    status = None
    try:
        for number in count(1):
            if _LIBC.ptrace(_SYSCALL, child, None, None):
                raise OSError(ctypes.get_errno(), "ptrace")
            _, now = os.waitpid(child, 0)
            if os.WIFEXITED(now):
                status = os.WEXITSTATUS(now)
                break
            yield number
    finally:
        if status is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert status == 0, "the function failed"


def kill(body: Callable[[], object], at: int) -> None:
    """Runs a function in a forked process and kills it at its n-th stop, if it comes so far."""
    for number in stops(body):
        if number == at:
            break


def forked(body: Callable[[], object]) -> None:
    """Runs a function in a forked process to its end; fails if it raises."""
    for _ in stops(body):
        pass


def _run(body: Callable[[], object]) -> None:
    status = 1
    try:
        if not _LIBC.ptrace(_TRACEME, 0, None, None):
            os.kill(os.getpid(), signal.SIGSTOP)
            body()
            status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
