"""A folder of its own for each test that uses MLflow: nothing set in the environment, a fresh SQLite file."""

import os
import shutil
from pathlib import Path

import pytest

from components import tracking


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without a run: MLflow's migrations take seconds, a copy does not."""
    folder = tmp_path_factory.mktemp("migrated")
    before = Path.cwd()
    os.chdir(folder)
    try:
        with tracking.explained():
            tracking.connect().search_experiments()
    finally:
        os.chdir(before)
    return folder / "workspace" / "mlflow.db"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, migrated: Path) -> Path:
    """The current folder, empty but for workspace/mlflow.db."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workspace").mkdir()
    shutil.copy(migrated, tmp_path / "workspace" / "mlflow.db")
    return tmp_path
