"""Fixtures: a folder with a fresh MLflow database for each test, a retraining, and a faulty proxy to S3."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.register.step import promote, register
from components.shared.mlflow import connection
from components.shared.s3.client import Address
from tests.support.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.retrained import RULES, TAGS, evaluated, trained
from tests.support.s3 import S3Server


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns an MLflow database without runs; a copy of it saves the seconds of MLflow's migrations."""
    folder = tmp_path_factory.mktemp("migrated")
    before = Path.cwd()
    os.chdir(folder)
    try:
        with connection.explained():
            connection.connect().search_experiments()
    finally:
        os.chdir(before)
    return folder / "workspace" / "mlflow.db"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, migrated: Path) -> Path:
    """Returns the current folder, empty except for workspace/mlflow.db, with no MLflow variable set."""
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):  # connect() may set them
        monkeypatch.setenv(name, "")
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "COLORIZE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workspace").mkdir()
    shutil.copy(migrated, tmp_path / "workspace" / "mlflow.db")
    return tmp_path


@pytest.fixture
def retrain(workplace: Path) -> Callable[..., dict[str, Any]]:
    """Returns retrain(score, champion's score), which registers a new model and promotes or rejects it."""
    count = 0

    def once(score: float | None, champion: float | None = None) -> dict[str, Any]:
        nonlocal count
        count += 1
        model, out = trained(workplace / f"model-{count}"), workplace / "registration"
        record = register(model, evaluated(model, score, champion), out, RULES, TAGS)
        if record["promote"]:
            promote(out)
        return record

    return once


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Yields a proxy between this process and the S3 server; a test sets its faults."""
    with faulty_proxy(s3.endpoint) as found:
        for name, value in (s3.environment | {"AWS_ENDPOINT_URL_S3": found.endpoint}).items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.fixture
def root(s3: S3Server, tmp_path: Path) -> Address:
    return Address(s3.bucket, f"checkpoints/{tmp_path.name}")
