"""Tests of the first seconds of a pod: servers on loopback that come up late, that never come, or only seem to."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from components.shared.machine import first_contact
from components.shared.mlflow import registry
from components.shared.s3 import client as s3_client
from components.shared.s3.client import Address, list_objects
from model.utils.errors import UserError
from tests.support import loopback
from tests.support.faulty_proxy import faulty_proxy
from tests.support.s3 import S3Server

WAITS = "does not answer yet; this waits for up to"


@pytest.fixture(autouse=True)
def fresh_pod(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> None:
    """Makes this process look like a pod of Kubeflow that has not contacted any server."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KFP_RUN_ID", "7f1b2a58-0c6e-4b8f-9a52-0d9f3f3f7c11")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    first_contact.await_in_new_pod.cache_clear()


@contextmanager
def late(start: Callable[[ExitStack], object]) -> Iterator[None]:
    """Starts a server two seconds after the block has begun; stops it at the end of the block."""
    with ExitStack() as stack:

        def begin() -> None:
            time.sleep(2)
            start(stack)

        thread = threading.Thread(target=begin)
        thread.start()
        try:
            yield
        finally:
            thread.join()


class Empty(loopback.Handler):
    """Answers like an MLflow without any version."""

    statuses: list[int] = []  # noqa: RUF012 - of the first answers

    def do_HEAD(self) -> None:  # noqa: N802 - http.server's name
        self.send_response(self.statuses.pop() if self.statuses else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        content = b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such model"}'
        self.send_response(404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def test_a_step_waits_for_mlflow_and_says_so_once(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    port = loopback.free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:secret@127.0.0.1:{port}")
    with late(lambda stack: stack.enter_context(loopback.server(Empty, port))):
        assert registry.champion() is None
    assert capfd.readouterr().err.splitlines() == [f"MLflow at http://127.0.0.1:{port} {WAITS} 60 s."]


def test_a_proxy_without_its_server_is_no_answer(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    monkeypatch.setattr(Empty, "statuses", [502, 503])
    with loopback.server(Empty) as address:
        first_contact.await_server(address, "MLflow")
    assert not Empty.statuses
    assert capfd.readouterr().err.count(WAITS) == 1


@pytest.mark.parametrize("status", [200, 307, 403, 404, 500])
def test_any_other_answer_is_one(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], status: int):
    monkeypatch.setattr(Empty, "statuses", [status])
    with loopback.server(Empty) as address:
        first_contact.await_server(address, "S3")
    assert capfd.readouterr().err == ""


def test_a_step_waits_for_s3(s3: S3Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    port = loopback.free_port()
    for name, value in (s3.environment | {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}"}).items():
        monkeypatch.setenv(name, value)
    with late(lambda stack: stack.enter_context(faulty_proxy(s3.endpoint, port=port))):
        assert [*list_objects(s3_client.client(), Address(s3.bucket, "first-contact"))] == []
    assert capfd.readouterr().err.splitlines() == [f"S3 at http://127.0.0.1:{port} {WAITS} 60 s."]


def test_a_server_that_never_comes_is_named_after_one_wait(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(first_contact, "PATIENCE", 1)
    address = f"http://127.0.0.1:{loopback.free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    for _ in range(2):
        with pytest.raises(UserError, match=f"^MLflow at {address} cannot be used .*refused.*MLFLOW_TRACKING_URI"):
            registry.champion()
    assert capfd.readouterr().err.count(WAITS) == 1


@pytest.mark.parametrize("away", ["KFP_RUN_ID", "KUBERNETES_SERVICE_HOST"])
def test_elsewhere_nobody_waits(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], away: str):
    monkeypatch.delenv(away)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{loopback.free_port()}")
    with pytest.raises(UserError, match="refused"):
        registry.champion()
    assert capfd.readouterr().err == ""


def test_mlflows_server_waits_longer_for_its_database():
    from mlflow.store.db.utils import MAX_RETRY_COUNT

    pauses = [0.1 * (2**attempt - 1) for attempt in range(1, MAX_RETRY_COUNT)]  # create_sqlalchemy_engine_with_retry
    assert sum(pauses) > first_contact.PATIENCE
