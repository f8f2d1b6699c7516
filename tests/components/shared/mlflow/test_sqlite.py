"""Tests of MLflow's SQLite file in odd folders, with a query, and after a move of the folder that holds it."""

import shutil
from pathlib import Path

import pytest

from components.shared.machine.workspace import VARIABLE
from components.shared.mlflow import connection, runs
from components.shared.mlflow.artifacts import download

ODD = (
    "with space", "q?x=1", "p%20c", "it's \"5:30\"", "a&b;c", "photos of Zoë 写真", "python3", "hash#tag", "a@b:c",
)  # fmt: skip


def written(text: str) -> str:
    """Writes an artifact in a run of its own; returns the run's id."""
    with runs.start_run("train") as run:
        run.log_text(text, "notes/note.txt")
    return run.id


def read(run: str, scratch: Path) -> str:
    return (download(f"runs:/{run}/notes", scratch) / "note.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ODD)
def test_database_and_artifacts_land_in_the_folder_that_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv(VARIABLE, str(tmp_path / name))
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    run = written("hello")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert {path.name for path in (tmp_path / name).iterdir()} == {".mlflow.lock", "mlflow.db", "mlartifacts"}
    assert [path.read_text() for path in (tmp_path / name / "mlartifacts").rglob("note.txt")] == ["hello"]
    assert read(run, tmp_path) == "hello"


def test_the_query_of_a_users_address_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = f"sqlite:///{tmp_path}/m.db?timeout=30"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    written("hello")
    assert connection.uri() == given
    assert {path.name for path in tmp_path.iterdir()} == {".mlflow.lock", "m.db", "mlartifacts"}


def test_an_address_in_sqlites_own_form_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a b").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite+pysqlite:///file:{tmp_path}/a%2520b/m.db?uri=true")
    run = written("hello")
    assert {path.name for path in (tmp_path / "a b").iterdir()} == {".mlflow.lock", "m.db", "mlartifacts"}
    assert read(run, tmp_path) == "hello"


@pytest.mark.parametrize("relocate", [shutil.move, shutil.copytree])
def test_artifacts_are_found_and_written_beside_a_database_that_was_moved_or_copied(
    relocate: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = tmp_path / "before", tmp_path / "after 100%"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv(VARIABLE, str(before))
    client = connection.connect()  # an older release of ours made the experiment at a path, not at a URI
    client.create_experiment(runs.EXPERIMENT, artifact_location=str(before / "mlartifacts"))
    first = written("first")
    relocate(before, after)  # type: ignore[operator]
    old = sorted(before.rglob("note.txt"))

    monkeypatch.setenv(VARIABLE, str(after))
    if old:
        old[0].write_text("of the old place")
    assert read(first, tmp_path / "a") == "first"
    second = written("second")
    assert read(second, tmp_path / "b") == "second"
    assert sorted(path.read_text() for path in after.rglob("note.txt")) == ["first", "second"]
    assert sorted(before.rglob("note.txt")) == old


def test_artifacts_elsewhere_stay_where_they_are(workplace: Path, tmp_path: Path) -> None:
    (workplace / "workspace" / "mlartifacts").mkdir(parents=True)
    for name in ("store", "mlartifacts"):
        place = f"s3://bucket/{name}"
        connection.connect().create_experiment(name, artifact_location=place)
        assert connection.connect().get_experiment_by_name(name).artifact_location == place
    shared = tmp_path / "shared"
    connection.connect().create_experiment(runs.EXPERIMENT, artifact_location=str(shared))
    run = written("hello")
    assert [path.read_text() for path in shared.rglob("note.txt")] == ["hello"]
    assert read(run, tmp_path / "a") == "hello"
