"""Tests of promotions and rollbacks during service, and of damaged versions."""

import threading
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from components.shared.mlflow import connection, promotion, registry
from model.inference.colorizer import Colorizer
from model.utils.errors import UserError
from serving.app import create_app
from serving.limits import Limits
from serving.served_models import ServedFolder
from tests.model.inference.test_colorizer import generator_folder
from tests.serving.conftest import Promote, picture, pixels, registered, until


def version_of(client: TestClient, query: str = "") -> int:
    answer = client.post(f"/v1/colorize{query}", content=picture())
    assert answer.status_code == 200, answer.text
    return int(answer.headers["model-version"])


def test_a_promotion_and_a_rollback_are_followed_and_no_request_fails(client: TestClient, promote: Promote):
    seen: list[int] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            answer = client.post("/v1/colorize", content=picture())
            seen.append(int(answer.headers["model-version"]) if answer.status_code == 200 else -answer.status_code)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    try:
        until(lambda: 1 in seen)
        promote(2.0)
        until(lambda: 2 in seen)
        promotion.promote(1, "rolled back")
        until(lambda: 1 in seen[-3:])
    finally:
        ended.set()
        for asker in askers:
            asker.join()
    assert set(seen) == {1, 2}


def test_other_aliases_are_served_and_followed(client: TestClient, promote: Promote):
    first = pixels(client.post("/v1/colorize", content=picture()).content)
    promote(2.0)
    until(lambda: version_of(client) == 2)
    assert version_of(client, "?model=previous") == 1
    again = client.post("/v1/colorize?model=previous", content=picture())
    assert (pixels(again.content) == first).mean() > 0.99
    promote(1.0)
    until(lambda: version_of(client, "?model=previous") == 2)


def test_a_removed_alias_is_no_longer_served(client: TestClient, promote: Promote):
    promote(2.0)
    until(lambda: version_of(client) == 2)
    assert version_of(client, "?model=previous") == 1
    connection.connect().delete_registered_model_alias("colorizer", "previous")
    until(lambda: client.post("/v1/colorize?model=previous", content=picture()).status_code == 404)
    assert 'colorize_model_version{alias="previous"}' not in client.get("/metrics").text
    connection.connect().delete_registered_model_alias("colorizer", "champion")
    until(lambda: client.get("/readyz").status_code == 503)
    assert "No version has the alias champion" in client.get("/readyz").text


def test_a_version_is_served_only_after_it_has_colored_a_picture(
    client: TestClient, workplace: Path, monkeypatch: pytest.MonkeyPatch
):
    loaded, load, predict = [], Colorizer.load, Colorizer.predict_together

    def loading(*arguments: object) -> Colorizer:
        loaded.append(load(*arguments))
        return loaded[-1]

    def failing(self: Colorizer, inputs: object) -> object:
        if self in loaded:
            raise ValueError("no such kernel")
        return predict(self, inputs)

    monkeypatch.setattr(Colorizer, "load", loading)
    monkeypatch.setattr(Colorizer, "predict_together", failing)
    registry.set_alias("champion", registered(workplace / "second", gain=2.0).number)
    until(lambda: "colorize_model_failures 0.0" not in client.get("/metrics").text.splitlines())
    assert version_of(client) == 1
    monkeypatch.setattr(Colorizer, "predict_together", predict)
    until(lambda: version_of(client) == 2)


def test_a_folder_is_served_in_place_of_the_registry(workplace: Path):
    folder = generator_folder(workplace / "made", gain=3.0)
    with TestClient(create_app(ServedFolder(folder), Limits()), "http://localhost") as client:
        assert client.get("/readyz").status_code == 200
        assert version_of(client) == 0
        assert client.post("/v1/colorize?model=previous", content=picture()).status_code == 404


def test_a_folder_has_colored_a_picture_before_it_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    warm, predict = [], Colorizer.predict_together
    monkeypatch.setattr(Colorizer, "predict_together", lambda self, inputs: warm.append(self) or predict(self, inputs))
    served = ServedFolder(generator_folder(tmp_path / "made")).served()["champion"]
    assert served.colorizer in warm


def test_a_folder_without_a_generator_is_refused(workplace: Path):
    with pytest.raises(UserError, match="holds no trained generator"):
        ServedFolder(workplace)


def test_a_version_with_damaged_files_is_not_served(client: TestClient, workplace: Path):
    before = set(workplace.glob("workspace/mlartifacts/**/generator.safetensors"))
    second = registered(workplace / "second", gain=2.0)
    (weights,) = set(workplace.glob("workspace/mlartifacts/**/generator.safetensors")) - before
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    registry.set_alias("champion", second.number)
    until(lambda: "colorize_model_failures 0.0" not in client.get("/metrics").text.splitlines())
    assert version_of(client) == 1
    assert client.get("/readyz").text == "champion is version 1"


def test_the_champion_stays_in_service_while_the_registry_is_unreachable(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    def away(alias: str) -> None:
        raise UserError("MLflow cannot be used")

    with monkeypatch.context() as patch:
        patch.setattr(registry, "by_alias", away)
        until(lambda: "colorize_model_failures 0.0" not in client.get("/metrics").text.splitlines())
        assert version_of(client) == 1
        answer = client.post("/v1/colorize?model=challenger", content=picture())
        assert (answer.status_code, answer.json()["detail"]) == (503, "MLflow cannot be used")
