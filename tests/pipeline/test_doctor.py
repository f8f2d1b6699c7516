"""Tests of `colorize doctor`: it names what a bug report needs, shows no secret, and disturbs nobody."""

import fcntl
import json
import os
from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline import doctor
from tests.support.command import colorize
from tests.support.loopback import free_port
from tests.support.webhook import receiver

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in os.environ:
        if name.startswith(("AWS_", "COLORIZE_", "KF_", "MLFLOW_")):
            monkeypatch.delenv(name)
    folder = tmp_path / "workspace"
    monkeypatch.setenv("COLORIZE_WORKSPACE", str(folder))
    return folder


def test_doctor_prints_versions_machine_and_files() -> None:
    done = colorize("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    for words in (f"colorize: {version('colorize')}", f"torch: {version('torch')}", "cores", "GB free", "not made yet"):
        assert words in done.stdout
    told = json.loads(colorize("doctor", "--json").stdout)
    assert set(told) == {"versions", "machine", "threads and devices", "files", "locks", "endpoints", "environment"}
    assert not any("error" in facts for facts in told.values())
    assert int(told["threads and devices"]["threads of torch"]) >= 1


def test_doctor_makes_no_workspace(place: Path) -> None:
    colorize("doctor")
    assert not place.exists()


def test_doctor_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://ada:{SECRET}@127.0.0.1:1/?key={SECRET}")
    monkeypatch.setenv("COLORIZE_WEBHOOK_URL", f"https://hooks.example.org/{SECRET}")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://ada:{SECRET}@127.0.0.1:1/mlflow?password={SECRET}")
    monkeypatch.setenv("KF_PIPELINES_COOKIES", SECRET)
    monkeypatch.setenv("HTTPS_PROXY", f"http://ada:{SECRET}@proxy.example.org:3128")
    monkeypatch.setenv("TOKEN_OF_SOMETHING_ELSE", SECRET)
    done = colorize("doctor")
    assert SECRET not in done.stdout + done.stderr
    for words in ("AWS_SECRET_ACCESS_KEY: set, not shown", "webhook: set", "http://proxy.example.org:3128"):
        assert words in done.stdout
    assert "TOKEN_OF_SOMETHING_ELSE" not in done.stdout


@pytest.mark.parametrize(
    "value",
    [f"ada:{SECRET}@example.org:1", f"http://ada:x/{SECRET}@example.org", f"http://[ada:{SECRET}@", f"//{SECRET}@h:x",
     f"http://127.0.0.1:{SECRET}@:1/", f"mysql+pymysql://ada:p?#{SECRET}@127.0.0.1/x", f"http://h/?{SECRET}#{SECRET}"],
)  # fmt: skip
def test_doctor_shows_no_secret_of_a_malformed_address(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*doctor._SHOWN, "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_TOKEN"):
        if name not in ("COLORIZE_WORKSPACE", "COLUMNS", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
            monkeypatch.setenv(name, value)
    done = colorize("doctor")
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_doctor_prints_values_that_are_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", os.fsdecode(b"/caf\xe9\x1b[31m\nred"))
    environment = doctor.examine()["environment"]
    assert environment["TMPDIR"].isprintable()


def test_doctor_says_which_endpoints_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver(200) as hook:
        address = hook.url.rsplit("/", 1)[0]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", f"http://127.0.0.1:{free_port()}")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://[")
        endpoints = doctor.examine()["endpoints"]
    assert endpoints["MLflow"] == f"{address} answers"
    assert endpoints["Kubeflow Pipelines"].endswith(" does not answer")
    assert endpoints["S3"].endswith(" is no address")


def test_doctor_asks_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://127.0.0.1:1/mlflow")
    assert doctor.examine()["endpoints"]["MLflow"].endswith("/mlflow, a database, which is not asked")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert doctor.examine()["endpoints"]["MLflow"].endswith("mlflow.db, a file")


def test_doctor_names_the_process_that_holds_a_lock_and_takes_none(place: Path) -> None:
    place.mkdir()
    with (place / "lock").open("w") as lock:
        assert doctor.examine()["locks"]["run"] == "free"
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert doctor.examine()["locks"]["run"] == f"held by process {os.getpid()}: {place / 'lock'}"


def test_a_section_that_cannot_be_examined_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORIZE_WORKSPACE", os.fsdecode(b"/tmp/caf\xe9"))
    told = doctor.examine()
    assert "its path is not UTF-8" in told["files"]["error"]
    assert told["versions"]
