"""Fixtures: a registry with a champion and the application of the server."""

import io
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image

from components.shared.mlflow import connection, promotion, registry, runs
from serving.address import bind
from serving.app import create_app
from serving.limits import Limits
from serving.served_models import ServedModels
from serving.server import configuration
from tests.components.conftest import migrated, workplace  # noqa: F401 - fixtures
from tests.model.inference.test_colorizer import generator_folder

Promote = Callable[[float], registry.Version]
Start = Callable[..., TestClient]


def registered(folder: Path, gain: float) -> registry.Version:
    """Registers a version with an untrained generator; a greater gain gives stronger colors."""
    generator = generator_folder(folder, gain=gain)
    client = connection.connect()
    with runs.start_run("train") as run:
        experiment = client.get_run(run.id).info.experiment_id
        logged = client.create_logged_model(experiment, name="colorizer", source_run_id=run.id)
        client.log_model_artifacts(logged.model_id, str(generator), registry.GENERATOR)
        client.finalize_logged_model(logged.model_id, "READY")
        tags = {"weights_sha256": registry.checksum(generator) or ""}
        return registry.create(logged.model_id, run.id, tags)


@pytest.fixture
def promote(workplace: Path) -> Promote:  # noqa: F811
    """Returns promote(gain), which registers such a version and promotes it."""

    def once(gain: float = 3.0) -> registry.Version:
        return promotion.promote(registered(workplace / f"made-{gain}", gain).number, "for the test")

    return once


@pytest.fixture
def start(promote: Promote) -> Iterator[Start]:
    """Returns start(limits, prepare), which starts the application; `prepare` makes the champion."""
    running: list[TestClient] = []

    def once(limits: Limits = Limits(), prepare: Callable[[], object] = promote) -> TestClient:  # noqa: B008
        app = create_app(ServedModels(prepare, seconds=0.1), limits)
        client = TestClient(app, "http://localhost", raise_server_exceptions=False)
        client.__enter__()
        running.append(client)
        return client

    yield once
    for client in running:
        client.__exit__(None, None, None)


@pytest.fixture
def client(start: Start) -> TestClient:
    """Returns a client of the application after it is ready."""
    return until_ready(start())


@pytest.fixture
def listen(promote: Promote) -> Iterator[Callable[[Limits], str]]:
    """Returns listen(limits), which serves on loopback, as `colorize web` does, and returns http://127.0.0.1:.../"""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def once(limits: Limits = Limits()) -> str:  # noqa: B008
        sockets = bind("127.0.0.1", 0)
        app = create_app(ServedModels(promote, seconds=0.1), limits, ["photos.example.com"])
        server = uvicorn.Server(configuration(app, limits))
        thread = threading.Thread(target=server.run, args=(sockets,))
        running.append((server, thread))
        thread.start()
        url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/"
        until(lambda: server.started and _answers(url + "readyz"))
        return url

    yield once
    for server, thread in running:
        server.should_exit = True
        thread.join()


@pytest.fixture
def address(listen: Callable[[], str]) -> str:
    """Returns the address of the ready application on loopback: http://127.0.0.1:.../"""
    return listen()


def _answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url).status == 200
    except urllib.error.HTTPError:
        return False


def until_ready(client: TestClient) -> TestClient:
    until(lambda: client.get("/readyz").status_code == 200)
    return client


def until(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds; fails after 30 s."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("the condition did not hold within 30 s")


def picture(width: int = 60, height: int = 40, file_format: str = "PNG") -> bytes:
    """Returns a file with a smooth gray picture."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    content = io.BytesIO()
    Image.fromarray(((np.sin(5 * x) + np.cos(3 * y) + 2) * 60).astype(np.uint8)).save(content, file_format)
    return content.getvalue()


def pixels(content: bytes) -> np.ndarray:
    """Returns the pixels of a file, (H, W, 3) uint8."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
