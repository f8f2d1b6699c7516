"""What tests of every floor share."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.s3 import S3Server, seaweedfs

signal.signal(signal.SIGINT, signal.default_int_handler)
"""`make test &` in a script ignores Ctrl-C, and so would every program that the tests start."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In parallel the longest file comes first, so that nobody waits for it at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path.name != "test_run.py")


@pytest.fixture(scope="session")
def photos() -> Path:
    """The sample photographs that DVC tracks."""
    folder = Path(__file__).resolve().parents[1] / "data"
    if not folder.is_dir():
        pytest.fail(f"{folder} is missing: `make test` brings it, and so does `dvc pull`.")
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For torch: results compare to the bit only for the same number of threads, and small networks run faster."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server; tests tell themselves apart by their prefixes."""
    with seaweedfs(tmp_path_factory.mktemp("s3") / "server") as server:
        yield server
