"""MLflow is told of a training in order and in full, and away it holds nothing up."""

import time
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from components.train import mlflow_queue as diary
from components.train.mlflow_queue import Diary
from model.utils.errors import UserError
from tests.support.trainings import CrashError, crash


class Server:
    """Takes entries when it is there."""

    def __init__(self) -> None:
        self.away = False
        self.took: list[int] = []

    def take(self, entry: int) -> None:
        if self.away:
            raise MlflowException("API request to http://127.0.0.1:1 failed (Caused by E('1: connection refused'))")
        self.took.append(entry)


@pytest.fixture
def server(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(diary, "_PAUSE", 0.01)
    return Server()


def test_what_a_server_missed_it_gets_in_order(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with Diary() as writing:
        for entry in range(30):
            server.away = 10 <= entry < 20
            writing.write(lambda entry=entry: server.take(entry))
            time.sleep(0.01)
    assert server.took == list(range(30))
    said = [record.getMessage() for record in caplog.records]
    assert "Training goes on, and what MLflow misses is told when it is back." in said[0]
    assert said[1].startswith("MLflow is back; ")


def test_at_the_end_a_server_that_stays_away_is_an_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diary, "PATIENCE", 0.1)
    server.away = True
    with pytest.raises(UserError, match=r"cannot be used \(connection refused\); start it"), Diary() as writing:
        writing.write(lambda: server.take(0))


def test_a_training_that_dies_says_what_mlflow_lacks(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(diary, "_HASTE", 0.1)
    server.away = True
    with suppress(CrashError), Diary() as writing:
        writing.write(lambda: server.take(0))
        crash(0)
    assert "MLflow lacks the last 1 entries of this attempt; history.jsonl has its rows." in caplog.text
