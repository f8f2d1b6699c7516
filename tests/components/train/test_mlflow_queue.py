"""Tests of the queue of MLflow writes: all are sent in order, and an unreachable server does not block training."""

import time
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from components.train import mlflow_queue
from components.train.mlflow_queue import MlflowQueue
from model.utils.errors import UserError
from tests.support.trainings import CrashError, crash


class Server:
    """Accepts writes while it is reachable."""

    def __init__(self) -> None:
        self.away = False
        self.took: list[int] = []

    def take(self, entry: int) -> None:
        if self.away:
            raise MlflowException("API request to http://127.0.0.1:1 failed (Caused by E('1: connection refused'))")
        self.took.append(entry)


@pytest.fixture
def server(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(mlflow_queue, "_PAUSE", 0.01)
    return Server()


def test_writes_during_an_outage_are_sent_later_in_order(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with MlflowQueue() as queue:
        for entry in range(30):
            server.away = 10 <= entry < 20
            queue.write(lambda entry=entry: server.take(entry))
            time.sleep(0.01)
    assert server.took == list(range(30))
    said = [record.getMessage() for record in caplog.records]
    assert "Training continues; queued writes are sent when MLflow is reachable again." in said[0]
    assert said[1].startswith("MLflow is reachable again; sending ")


def test_a_server_that_is_unreachable_at_the_end_is_an_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_queue, "PATIENCE", 0.1)
    server.away = True
    with pytest.raises(UserError, match=r"cannot be used \(connection refused\); start it"), MlflowQueue() as queue:
        queue.write(lambda: server.take(0))


def test_a_failed_training_names_the_writes_missing_in_mlflow(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mlflow_queue, "_PATIENCE_ON_FAILURE", 0.1)
    server.away = True
    with suppress(CrashError), MlflowQueue() as queue:
        queue.write(lambda: server.take(0))
        crash(0)
    assert "MLflow lacks the last 1 writes of this attempt; history.jsonl has its rows." in caplog.text
