"""Tests of artifacts in an S3 store that MLflow's server reaches and its clients do not.

The store's address is a port of this machine that accepts connections and never answers. The server finds the real
store through a proxy.
"""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.shared.mlflow import artifacts, connection, registry
from components.shared.mlflow.promotion import promote
from model.utils.errors import UserError
from serving.served_models import ServedModels
from tests.components.shared.mlflow.test_promotion import make_version
from tests.serving.conftest import until
from tests.support.command import colorize
from tests.support.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.mlflow_server import mlflow_server
from tests.support.s3 import S3Server

OVERRIDE = connection.MULTIPART_DOWNLOAD


@pytest.fixture(scope="module")
def silent() -> Iterator[socket.socket]:
    """Yields a socket that accepts connections and never answers, as a store behind a policy that drops packets."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)
        listening.setblocking(False)
        yield listening


def address(silent: socket.socket) -> str:
    return f"http://127.0.0.1:{silent.getsockname()[1]}"


@pytest.fixture(scope="module")
def way(s3: S3Server) -> Iterator[FaultyProxy]:
    """Yields the proxy between MLflow's server and the store."""
    with faulty_proxy(s3.endpoint) as found:
        yield found


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, migrated: Path, s3: S3Server, silent: socket.socket, way: FaultyProxy
) -> Iterator[str]:
    """Yields an MLflow server that serves artifacts from S3."""
    folder = tmp_path_factory.mktemp("mlflow")
    shutil.copy(migrated, folder)
    variables = s3.environment | {
        "AWS_ENDPOINT_URL_S3": address(silent),
        "AWS_DEFAULT_REGION": "us-east-1",
        "HTTP_PROXY": way.endpoint,
        "http_proxy": way.endpoint,
        "NO_PROXY": "",
        "no_proxy": "",
    }
    with mlflow_server(folder, store=f"s3://{s3.bucket}/mlflow", **variables) as found:
        yield found


@pytest.fixture
def client(server: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process a client of the server, without keys of the store."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)


def somebody_came(silent: socket.socket) -> bool:
    try:
        silent.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def test_versions_are_registered_promoted_served_and_shown_through_the_server(
    client: None, silent: socket.socket, workplace: Path
):
    version = make_version(workplace / "made")
    assert registry.address(version.number).startswith("mlflow-artifacts:/")
    promote(version.number, "the first")
    assert registry.checksum(registry.fetch("models:/colorizer@champion")) == version.weights_sha256
    with ServedModels(lambda: None) as models:
        until(lambda: "champion" in models.served())
    assert models.served()["champion"].number == version.number
    shown = colorize("models", "show", "champion", "--json")
    assert (shown.returncode, version.weights_sha256 in shown.stdout) == (0, True), shown.stderr
    assert not somebody_came(silent)


def test_a_server_whose_store_is_silent_is_named_after_the_timeout(
    client: None, server: str, way: FaultyProxy, workplace: Path, monkeypatch: pytest.MonkeyPatch
):
    version = make_version(workplace / "made")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(way, "stall_seconds", 5)
    monkeypatch.setattr(way, "choose", lambda request: "stall")
    with pytest.raises(UserError, match=rf"MLflow at {server} cannot be used \(.*timed out"):
        registry.fetch(version.uri)


def test_a_store_that_does_not_answer_is_named(
    client: None, silent: socket.socket, workplace: Path, monkeypatch: pytest.MonkeyPatch
):
    version = make_version(workplace / "made")
    monkeypatch.setenv(OVERRIDE, "true")
    monkeypatch.setattr(artifacts, "SILENCE", 1)
    sentence = rf"{version.uri}/.*store at {address(silent)} cannot be reached from here; unset {OVERRIDE} to download"
    with pytest.raises(UserError, match=sentence):
        registry.fetch(version.uri)
    assert somebody_came(silent)


def test_clients_download_from_the_store_itself_where_somebody_opened_the_way(
    client: None, s3: S3Server, silent: socket.socket, workplace: Path, monkeypatch: pytest.MonkeyPatch
):
    version = make_version(workplace / "made")
    monkeypatch.setenv(OVERRIDE, "true")
    port = silent.getsockname()[1]
    silent.close()
    with faulty_proxy(s3.endpoint, port=port) as store:
        assert registry.checksum(registry.fetch(version.uri)) == version.weights_sha256
        assert any("generator.safetensors" in request for request in store.requests)
