"""Tests of the connection to MLflow: a real SQLite store, and servers that are unreachable or refuse."""

import base64
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from components.shared.mlflow import connection, registry, runs
from model.utils.errors import UserError
from tests.support.trainings import CrashError, crash

ROOT = Path(__file__).resolve().parents[4]


def test_database_and_artifacts_lie_in_the_workspace_folder(workplace: Path) -> None:
    note = workplace / "note.txt"
    note.write_text("hello", encoding="utf-8")
    with runs.start_run("train") as run:
        run.log_artifact(note)
    assert sorted(path.name for path in workplace.iterdir()) == ["note.txt", "workspace"]
    assert [path.read_text(encoding="utf-8") for path in workplace.glob("workspace/mlartifacts/**/note.txt")] == [
        "hello"
    ]
    assert connection.connect().get_run(run.id).info.run_name == "train"
    assert connection.connect().get_experiment_by_name("colorizer") is not None


def test_the_default_location_follows_the_current_folder(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with runs.start_run("train"):
        pass
    assert "MLFLOW_TRACKING_URI" not in os.environ
    elsewhere = workplace / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert connection.uri() == f"sqlite:///{elsewhere}/workspace/mlflow.db"


def test_an_unreachable_server_is_named_without_its_password(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somebody:secret@127.0.0.1:9")  # the discard port: nobody listens
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    expected = r"http://127\.0\.0\.1:9 cannot be used .*refused.*MLFLOW_TRACKING_URI"
    with pytest.raises(UserError, match=expected) as caught, runs.start_run("train"):
        pass
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "http://somebody:secret@127.0.0.1:9",
        "http://somebody:a@secret@127.0.0.1:9",
        "http://somebody:secret/a@127.0.0.1:9",
        "http://somebody:a?secret@127.0.0.1:9",
        "http://somebody:a#secret@127.0.0.1:9",
        "http://somebody:secret@127.0.0.1:no",
        "http://somebody:secret@[no",
        "http:/somebody:secret@127.0.0.1",
        "somebody:secret@127.0.0.1",
        "http://127.0.0.1:9/?token=secret",
        "postgresql://somebody:secret@127.0.0.1:9/mlflow",
        "postgresql://127.0.0.1:9/mlflow?password=a@secret",
        "mysql://somebody:secret@127.0.0.1:9/mlflow",
        "sqlite://somebody:secret@127.0.0.1/mlflow.db",
    ],
)
def test_no_address_however_wrong_makes_the_password_visible(
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    address: str,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError) as caught:
        registry.champion()
    traced = "".join(traceback.format_exception(caught.value))  # as --verbose prints
    said = f"{traced} {connection.shown_uri()} {capfd.readouterr()} {caplog.text}"
    assert "secret" not in said
    assert "MLflow at" in said or "MLFLOW_TRACKING_URI is no address" in said


@pytest.fixture
def denying(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yields the address of a server that answers every request with one status."""

    class Denying(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param)
            self.end_headers()
            self.wfile.write(b"You shall not pass.")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Denying)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_login_in_the_address_reaches_the_server(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logins = []

    class Listening(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            logins.append(self.headers["Authorization"])
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Listening) as server:
        threading.Thread(target=server.serve_forever).start()
        address = f"http://Otto%20B:p%40ss%2F%C3%BC@127.0.0.1:{server.server_port}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with pytest.raises(UserError):
            registry.champion()
        server.shutdown()
    assert base64.b64decode(logins[0].removeprefix("Basic ")).decode() == "Otto B:p@ss/ü"


@pytest.mark.parametrize("denying", [401, 403], indirect=True)
def test_a_server_that_denies_access_is_named(workplace: Path, monkeypatch: pytest.MonkeyPatch, denying: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", denying.replace("://", "://somebody:secret@"))
    expected = f"{denying} denies access .*MLFLOW_TRACKING_PASSWORD"
    with pytest.raises(UserError, match=expected) as caught, runs.start_run("train"):
        pass
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("denying", [404, 418], indirect=True)
def test_no_answer_of_a_server_makes_a_password_public(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, denying: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", denying.replace("://", "://somebody:secret@"))
    for ask in (registry.model, lambda: registry.get(7), lambda: registry.fetch("models:/colorizer/7")):
        with pytest.raises(UserError, match=denying) as caught:
            ask()
        assert "secret" not in str(caught.value)


def test_a_folder_of_files_is_refused_with_mlflows_reason(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(workplace / "mlruns"))
    with pytest.raises(UserError, match="maintenance mode"), runs.start_run("train"):
        pass


def test_a_database_folder_that_cannot_be_created_is_named(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workplace / "file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workplace}/file/mlflow.db")
    with pytest.raises(UserError, match=r"file: .*MLFLOW_TRACKING_URI"), runs.start_run("train"):
        pass


def test_a_workspace_that_cannot_be_created_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("COLORIZE_WORKSPACE", str(tmp_path / "file" / "workspace"))
    with pytest.raises(UserError, match=r"workspace: .*; set COLORIZE_WORKSPACE to a folder"), runs.start_run("train"):
        pass


def test_two_processes_can_start_at_once_and_print_nothing(tmp_path: Path) -> None:
    code = "from components.shared.mlflow import runs\nwith runs.start_run('train', system_metrics=True) as run: pass"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "COLORIZE_"))}
    environment |= {"PYTHONPATH": str(ROOT), "PATH": str(tmp_path)}  # without git, as in the images
    command = [sys.executable, "-c", code]
    both = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    assert [process.communicate()[0].decode() for process in both] == ["", ""]
    assert [process.returncode for process in both] == [0, 0]


def test_a_partial_database_of_a_killed_process_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with monkeypatch.context() as patch, suppress(CrashError):
        patch.setattr("mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore._engine_map", {})  # another process's own
        patch.setattr("mlflow.store.db.utils._upgrade_db", crash)
        connection.connect()
    assert Path("workspace/.mlflow.db.partial").exists()
    assert not Path("workspace/mlflow.db").exists()
    assert connection.connect().search_experiments()
    assert not Path("workspace/.mlflow.db.partial").exists()
