"""What tests of every floor share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def photos() -> Path:
    """The sample photographs that DVC tracks."""
    folder = Path(__file__).resolve().parents[1] / "data"
    if not folder.is_dir():
        pytest.fail(f"{folder} is missing: `make test` brings it, and so does `dvc pull`.")
    return folder
