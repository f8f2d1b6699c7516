"""Tests of the REST API: it colors as `colorize photo` does and refuses with problem+json."""

import io
import re
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from components.shared.mlflow import registry
from model.inference.colorizer import Colorizer
from model.inference.hints import parse_hints
from model.utils.errors import UserError
from serving.app import create_app
from serving.limits import Limits
from serving.served_models import ServedFolder
from tests.model.inference.test_hints import hinted_folder
from tests.serving.conftest import Start, picture, pixels, until, until_ready, workplace  # noqa: F401 - a fixture


def bomb(side: int) -> bytes:
    """Returns a PNG that declares side x side pixels and holds none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def refused(response, status: int, *words: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["title"]
    for word in words:
        assert word in problem["detail"]
    assert ("retry-after" in response.headers) == (status in (429, 503))


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Yields an event; networks wait until it is set."""
    event, predict = threading.Event(), Colorizer.predict_together

    def waiting(self, inputs):
        event.wait()
        return predict(self, inputs)

    monkeypatch.setattr(Colorizer, "predict_together", waiting)
    yield event
    event.set()


def test_a_request_is_colored_as_the_model_colors(client: TestClient):
    colorizer = Colorizer.load(registry.fetch("models:/colorizer@champion"))
    for seed in (0, 7):
        answer = client.post("/v1/colorize", params={"seed": seed}, content=picture())
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        assert answer.headers["model-version"] == "1"
        assert answer.headers["cache-control"] == "no-store"
        expected = colorizer.colorize(pixels(picture()), seed)[0]
        assert np.abs(pixels(answer.content).astype(int) - expected).max() <= 1
        assert np.ptp(expected.astype(int), axis=2).max() > 10


@pytest.mark.parametrize(
    ("file_format", "kind"),
    [("JPEG", "jpeg"), ("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tiff"), ("BMP", "bmp"), ("GIF", "jpeg")],
)
def test_each_format_keeps_its_format(client: TestClient, file_format: str, kind: str):
    answer = client.post("/v1/colorize", content=picture(file_format=file_format))
    assert answer.headers["content-type"] == f"image/{kind}"
    assert pixels(answer.content).shape == (40, 60, 3)


def test_strength_scales_the_chroma(client: TestClient):
    answers = {
        strength: client.post(f"/v1/colorize?strength={strength}", content=picture()) for strength in (0, 0.5, 1)
    }
    automatic = client.post("/v1/colorize", content=picture()).content
    chroma = {strength: np.ptp(pixels(answer.content).astype(int), axis=2) for strength, answer in answers.items()}
    assert answers[1].content == automatic
    assert chroma[0].max() <= 1
    assert chroma[0].mean() < chroma[0.5].mean() < chroma[1].mean()


HINTS = '[{"color": "#2a4b8d", "points": [[0.5, 0.5], [0.6, 0.5]]}]'


def test_hints_reach_the_model(workplace: Path):  # noqa: F811
    folder = hinted_folder(workplace / "hinted")
    with TestClient(create_app(ServedFolder(folder), Limits()), "http://localhost") as client:
        automatic, hinted = (
            pixels(client.post("/v1/colorize", params=query, content=picture()).content).astype(int)
            for query in ({}, {"hints": HINTS})
        )
    assert np.abs(hinted - automatic).max() > 5
    assert (
        np.abs(hinted - Colorizer.load(folder).colorize(pixels(picture()), hints=parse_hints(HINTS, ""))[0]).max() <= 1
    )


def test_a_model_without_hints_answers_422_to_them(client: TestClient):
    refused(client.post("/v1/colorize", params={"hints": HINTS}, content=picture()), 422, "this model takes no hints")


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_a_preview_is_a_jpeg_of_the_photograph(client: TestClient, file_format: str):
    answer = client.post("/v1/preview", content=picture(file_format=file_format))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert np.abs(pixels(answer.content).astype(int) - pixels(picture())).max() <= 3
    refused(client.post("/v1/preview", content=b"no photograph"), 415, "not a JPEG")
    refused(client.post("/v1/preview", content=bomb(14_200)), 413, "more pixels than the limit")


def test_progress_tells_the_place_in_the_queue_and_then_the_tile(start: Start, held: threading.Event):
    held.set()
    client = until_ready(start())
    held.clear()
    names = [f"photograph-{number}" for number in range(8)]

    def states() -> list[dict]:
        return [client.get(f"/v1/progress/{name}").json() for name in names]

    with ThreadPoolExecutor(len(names)) as pool:
        sent = [pool.submit(client.post, f"/v1/colorize?watch={name}", content=picture()) for name in names]
        until(lambda: all("place" in state for state in states()))
        until(lambda: any(state["tiles"] == 1 for state in states()))
        waiting = sorted(state["place"] for state in states() if state["place"])
        assert waiting == list(range(1, len(waiting) + 1))
        assert len(waiting) < len(names)
        held.set()
        assert {one.result().status_code for one in sent} == {200}
    refused(client.get(f"/v1/progress/{names[0]}"), 404, "no photograph of this name")
    refused(client.get("/v1/progress/a"), 422, "watch")


def test_samples_come_in_a_zip_whose_first_equals_a_single_sample(client: TestClient):
    answer = client.post("/v1/colorize?samples=3&seed=5", content=picture())
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["1.png", "2.png", "3.png"]
        colored = [pixels(archive.read(name)).astype(int) for name in archive.namelist()]
    alone = pixels(client.post("/v1/colorize?seed=5", content=picture()).content)
    assert np.abs(colored[0] - alone).max() <= 1
    assert np.abs(colored[0] - colored[1]).max() > 1


def test_a_file_that_is_no_photograph_answers_415(client: TestClient):
    for content in (b"", b"plain text", b"%PDF-1.7"):
        answer = client.post("/v1/colorize", content=content, headers={"Content-Type": "image/jpeg"})
        refused(answer, 415, "not a JPEG")
    form = client.post("/v1/colorize", files={"file": picture()})
    refused(form, 415, "not a JPEG")


def test_a_damaged_photograph_answers_422(client: TestClient):
    refused(client.post("/v1/colorize", content=picture()[:-200]), 422, "damaged or truncated")


@pytest.mark.parametrize("query", [
    "samples=0", "samples=9", "seed=-1", "seed=x", "model=latest", "label=dusk", "strength=1.6", "strength=nan",
    "hints=blue", "hints=[1]", "watch=a",
])  # fmt: skip
def test_a_wrong_query_answers_422_and_names_the_parameter(client: TestClient, query: str):
    refused(client.post(f"/v1/colorize?{query}", content=picture()), 422, query.split("=")[0])


def test_a_file_over_the_limit_answers_413_with_and_without_a_content_length(start: Start):
    client = until_ready(start(Limits(bytes=5000)))
    refused(client.post("/v1/colorize", content=bytes(5001)), 413, "5000 bytes")
    sent = []

    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            sent.append(1)
            yield bytes(1000)

    refused(client.post("/v1/colorize", content=pieces()), 413, "5000 bytes")
    assert client.post("/v1/colorize", content=picture()).status_code == 200


def test_too_many_pixels_answer_413_before_decoding(client: TestClient, start: Start):
    refused(client.post("/v1/colorize", content=bomb(14_200)), 413, "more pixels than the limit")  # 200 megapixels
    refused(client.post("/v1/colorize", content=bomb(8_000)), 413, "more than the limit of 50000000")
    small = until_ready(start(Limits(pixels=60 * 40 * 2)))
    assert small.post("/v1/colorize?samples=2", content=picture()).status_code == 200
    refused(small.post("/v1/colorize?samples=3", content=picture()), 413)


def test_unknown_paths_and_methods_answer_problem_details(client: TestClient):
    refused(client.get("/nowhere"), 404)
    refused(client.get("/v1/colorize"), 405)
    refused(client.post("/v1/colorize?model=previous", content=picture()), 404, "No version has the alias previous yet")


def test_a_full_server_answers_429_until_a_place_is_free(start: Start, held: threading.Event):
    held.set()
    client = until_ready(start(Limits(max_requests=3)))
    held.clear()
    with ThreadPoolExecutor(3) as pool:
        begun = [pool.submit(client.post, "/v1/colorize", content=picture()) for _ in range(3)]
        until(lambda: "colorize_in_progress 3.0" in client.get("/metrics").text)
        refused(client.post("/v1/colorize", content=picture()), 429, "try again soon")
        assert client.get("/healthz").text == "ok"
        held.set()
        assert [one.result().status_code for one in begun] == [200, 200, 200]
    assert client.post("/v1/colorize", content=picture()).status_code == 200


def test_a_slow_coloring_and_a_long_queue_answer_503_and_block_no_other(start: Start, held: threading.Event):
    held.set()
    client = until_ready(start(Limits(seconds=0.3, coloring_seconds=0.9, max_requests=3)))
    held.clear()
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/colorize", content=picture()), range(3)))
    for answer in answers:
        refused(answer, 503, "seconds; try again later")
    assert any("was not colored in 0.9 seconds" in answer.json()["detail"] for answer in answers)
    held.set()
    until(lambda: client.post("/v1/colorize", content=picture()).status_code == 200)


def test_a_server_without_a_champion_answers_503_with_the_reason(start: Start):
    def nothing() -> None:
        raise UserError("There are no photographs")

    client = start(prepare=nothing)
    until(lambda: "no photographs" in client.get("/readyz").text)
    refused(client.get("/readyz"), 503, "There are no photographs")
    refused(client.post("/v1/colorize", content=picture()), 503, "There are no photographs")
    assert client.get("/healthz").status_code == 200


def test_a_bug_answers_500_and_the_log_holds_nothing_of_the_photograph(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(Colorizer, "colorize", lambda *_: 1 // 0)
    content = picture(file_format="BMP")
    refused(client.post("/v1/colorize", content=content), 500, "internal error; the server's log")
    assert str(content[100:140])[2:-1] not in caplog.text
    monkeypatch.undo()
    assert client.post("/v1/colorize", content=content).status_code == 200


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_lack_of_memory_answers_503(client: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception):
    def lacking(*_: object, **__: object) -> None:
        raise error

    for place, name in ((Colorizer, "colorize"), (Image.Image, "convert"), (Image.Image, "save")):
        with monkeypatch.context() as patch:
            content = picture()
            patch.setattr(place, name, lacking)
            if place is Colorizer or isinstance(error, MemoryError):
                refused(client.post("/v1/colorize", content=content), 503, "not enough memory")
    assert client.post("/v1/colorize", content=picture()).status_code == 200


def test_a_photograph_that_needs_more_memory_than_there_is_answers_413(start: Start):
    client = until_ready(start(Limits(memory=1)))
    refused(client.post("/v1/colorize", content=picture()), 413, "more memory than the server may use for files")


def test_the_metrics_count_requests(client: TestClient):
    client.post("/v1/colorize", content=picture())
    client.post("/v1/colorize", content=b"no picture")
    client.get("/a/b")
    lines = client.get("/metrics").text.splitlines()
    assert 'colorize_requests_total{path="/v1/colorize",status="200"} 1.0' in lines
    assert 'colorize_requests_total{path="/v1/colorize",status="415"} 1.0' in lines
    assert 'colorize_requests_total{path="other",status="404"} 1.0' in lines
    assert 'colorize_request_seconds_count{path="/v1/colorize"} 2.0' in lines
    assert "colorize_batch_size_sum 1.0" in lines
    assert 'colorize_model_version{alias="champion"} 1.0' in lines
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines)


def test_the_page_states_the_limits_and_fetches_nothing_from_other_hosts(client: TestClient):
    answer = client.get("/")
    limits = Limits()
    assert f"at most {limits.bytes >> 20} MB and {limits.pixels // 1_000_000} megapixels each" in answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    for name in re.findall(r'(?:src|href)="(page/[^"]+)"', answer.text):
        assert client.get(f"/{name}").status_code == 200
    assert "http" not in answer.text


def test_openapi_documents_every_answer(client: TestClient):
    described = client.get("/openapi.json").json()["paths"]["/v1/colorize"]["post"]
    assert set(described["responses"]) == {"200", "400", "404", "408", "413", "415", "422", "429", "500", "503"}
    assert {"image/jpeg", "image/tiff"} <= set(described["requestBody"]["content"])
    assert {one["name"] for one in described["parameters"]} == {
        "samples", "seed", "model", "label", "strength", "hints", "watch", "alpha", "page",
    }  # fmt: skip
