"""Number of processors that this process may use, and of the threads that libraries start."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

THREADS = "OMP_NUM_THREADS"
"""Environment variable that PyTorch, OpenMP, OpenBLAS and Arrow read once, when they are loaded."""

WAITING = "OMP_WAIT_POLICY"
"""Environment variable that OpenMP reads once, when it is loaded: what a thread does that has nothing to do."""

CGROUP = Path("/sys/fs/cgroup")
"""Folder of the control groups: in a container mostly that of its own group, elsewhere of the whole machine."""

MEMBERSHIP = Path("/proc/self/cgroup")
"""Kernel's list of the control groups that this process is in."""


def quota(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> int | None:
    """Returns the whole processors, at least one, that the CPU limits of a process allow; None without a limit.

    Args:
        cgroup: folder of the control groups.
        membership: list of the groups that the process is in; each counts, and each around it.
    """
    limits = (_limit(folder) for folder in _groups(cgroup, membership))
    return min((limit for limit in limits if limit), default=None)


def _groups(cgroup: Path, membership: Path) -> Iterator[Path]:
    """Yields the folders of control groups, of both versions, that a process may be in."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):  # no Linux
        lines = []
    for line in ("1:cpu:/", "0::/", *lines):
        _, controllers, path = line.split(":", 2)
        root = cgroup / "cpu" if controllers else cgroup
        if controllers in ("", "cpu", "cpu,cpuacct"):
            own = PurePosixPath(path.lstrip("/"))
            yield from (root / folder for folder in (own, *own.parents))


def _limit(folder: Path) -> int | None:
    """Returns the whole processors, at least one, that a control group's own limit allows; None without one."""
    two = folder / "cpu.max"
    try:
        if two.exists():
            limit, period = map(int, two.read_text(encoding="ascii").split())
        else:  # version 1 of control groups
            limit, period = (
                int((folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii")) for name in ("quota", "period")
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
