"""Number of processors that this process may use, and of the threads that libraries start."""

import os
from pathlib import Path

THREADS = "OMP_NUM_THREADS"
"""Environment variable that PyTorch, OpenMP, OpenBLAS and Arrow read once, when they are loaded."""

WAITING = "OMP_WAIT_POLICY"
"""Environment variable that OpenMP reads once, when it is loaded: what a thread does that has nothing to do."""

CGROUP = Path("/sys/fs/cgroup")
"""Folder of this process's control group, as containers see it."""


def quota(cgroup: Path = CGROUP) -> int | None:
    """Returns the whole processors, at least one, that a container's CPU limit allows; None without a limit."""
    one, two = cgroup / "cpu", cgroup / "cpu.max"
    try:
        if two.exists():
            limit, period = map(int, two.read_text(encoding="ascii").split())
        else:  # version 1 of control groups
            limit, period = (
                int((one / f"cpu.cfs_{name}_us").read_text(encoding="ascii")) for name in ("quota", "period")
            )
    except (OSError, ValueError):  # no control group, or "max"
        return None
    return max(1, limit // period) if limit > 0 else None


def cores(cgroup: Path = CGROUP) -> int:
    """Counts the processors that this process may use, by CPU affinity and by the container's CPU limit."""
    available = len(os.sched_getaffinity(0))
    return min(available, quota(cgroup) or available)


def limit_threads() -> None:
    """Has libraries that are loaded later start no more threads than the container's CPU limit, and lets them rest.

    They would count the processors of the whole node. OpenMP's threads would spin while they wait for each other, which
    takes the processors from other programs. What the environment says has precedence.
    """
    os.environ.setdefault(WAITING, "PASSIVE")
    if quota():
        os.environ.setdefault(THREADS, str(cores()))


def share_threads(processes: int) -> None:
    """Divides this process's threads among processes that it is going to start."""
    threads = os.environ.get(THREADS, "")
    if threads.isdecimal():
        os.environ[THREADS] = str(max(1, int(threads) // processes))
