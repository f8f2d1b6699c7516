"""Fixtures for all tests: photographs, a single thread, and an S3 server."""

import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

from tests.support.s3 import S3Server, seaweedfs

signal.signal(signal.SIGINT, signal.default_int_handler)
"""Restores Ctrl-C, which `make test &` in a script ignores and the programs that tests start would inherit."""


hypothesis.settings.register_profile("busy", deadline=None)  # a busy machine is no reason to fail
hypothesis.settings.load_profile("busy")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Runs the longest file first in a parallel run, so that no worker waits for it at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path.name != "test_run.py")


@pytest.fixture(scope="session")
def photos() -> Path:
    """Returns the folder of sample photographs that DVC tracks."""
    folder = Path(__file__).resolve().parents[1] / "data"
    if not folder.is_dir():
        pytest.fail(f"{folder} is missing: `make test` brings it, and so does `dvc pull`.")
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Sets torch to one thread: results are equal bit for bit only for the same number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Yields a real S3 server; each test uses a prefix of its own."""
    with seaweedfs(tmp_path_factory.mktemp("s3") / "server") as server:
        yield server
