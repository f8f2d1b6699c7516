"""Tests of the processors that a process may use: a container's CPU limit sets the threads of its libraries."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from model.utils.cores import cores, quota, share_threads
from tests.support.source import ROOT

SPY = """
import importlib, os, sys
class Spy:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("torch is loaded with", os.environ.get("OMP_WAIT_POLICY"))
sys.meta_path.insert(0, Spy())
importlib.import_module(sys.argv[1])
import torch
"""
THREADS = "import os, components, torch, pyarrow; print(torch.get_num_threads(), pyarrow.cpu_count())"


def limited(folder: Path, files: dict[str, str]) -> Path:
    """Writes a folder as a container finds it in the place of its control group."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content + "\n", encoding="ascii")
    return folder


def version_1(limit: str) -> dict[str, str]:
    return {"cpu/cpu.cfs_quota_us": limit, "cpu/cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "400000 100000"}, 4),
        ({"cpu.max": "150000 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        (version_1("300000"), 3),
        (version_1("25000"), 1),
        (version_1("-1"), None),
        ({}, None),
    ],
)
def test_the_cpu_limit_of_a_container_is_read(tmp_path: Path, files: dict[str, str], expected: int | None) -> None:
    folder = limited(tmp_path, files)
    available = len(os.sched_getaffinity(0))
    assert quota(folder) == expected
    assert cores(folder) == min(available, expected or available)


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({"user.slice/mine/cpu.max": "200000 100000"}, "0::/user.slice/mine", 2),
        ({"a/cpu.max": "100000 100000", "a/b/cpu.max": "300000 100000"}, "0::/a/b", 1),
        ({"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 3),
        ({"other/cpu.max": "100000 100000"}, "0::/mine", None),
        ({"cpu.max": "200000 100000"}, "0::/../outside", 2),
        (
            {"cpu/mine/cpu.cfs_quota_us": "200000", "cpu/mine/cpu.cfs_period_us": "100000"},
            "5:memory:/other\n4:cpu,cpuacct:/mine\n0::/",
            2,
        ),
    ],
)
def test_the_limits_of_the_groups_that_a_process_is_in_count(
    tmp_path: Path, files: dict[str, str], membership: str, expected: int | None
) -> None:
    (tmp_path / "membership").write_text(f"{membership}\n")
    assert quota(limited(tmp_path / "cgroup", files), tmp_path / "membership") == expected


def threads(cgroup: Path, **environment: str) -> list[int]:
    """Returns the threads of PyTorch and of Arrow in a process that has this folder as its control group."""
    command = 'mount --bind "$1" /sys/fs/cgroup && exec "$2" -c "$3"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", command, "", cgroup, sys.executable, THREADS],
        env={name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.stderr.startswith(("unshare: ", "mount: ")):
        pytest.skip(f"this machine lets no test mount a folder: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_the_threads_of_libraries_follow_the_limit_unless_the_environment_names_them(tmp_path: Path) -> None:
    folder = limited(tmp_path, {"cpu.max": "100000 100000"})
    assert threads(folder) == [1, 1]
    assert threads(folder, OMP_NUM_THREADS="2") == [2, 2]


def test_processes_share_the_threads_of_the_process_that_starts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, expected in (("8", "4"), ("1", "1"), ("4,2", "4,2")):
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        share_threads(2)
        assert os.environ["OMP_NUM_THREADS"] == expected


@pytest.mark.parametrize(
    "entry", ["pipeline.cli.main", "components.train.worker", "serving.server", "benchmarks.__main__"]
)
@pytest.mark.parametrize(("given", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_every_entry_lets_waiting_threads_rest_unless_the_environment_says_otherwise(
    entry: str, given: dict[str, str], expected: str
) -> None:
    clean = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", SPY, entry], env=clean | given, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"torch is loaded with {expected}"]
