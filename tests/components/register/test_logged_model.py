"""Tests of the logged MLflow model: files without pickle, its own requirements, and storage on a server."""

import base64
import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from importlib.metadata import distribution, requires
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

from components.register.step import register
from components.shared.mlflow import connection, registry
from model.utils.errors import UserError
from tests.support.retrained import RULES, TAGS, aliases, evaluated


def test_the_logged_model_holds_no_pickle_and_no_training_files(
    workplace: Path, retrain: Callable[..., dict[str, Any]]
) -> None:
    retrain(0.5)
    (root,) = (path.parent for path in workplace.glob("workspace/mlartifacts/**/MLmodel"))
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    code = {name for name in files if name.startswith("code/model/")}
    assert {Path(name).suffix for name in code} == {".py"}
    assert files - code == {
        "MLmodel",
        "artifacts/generator/generator.json",
        "artifacts/generator/generator.safetensors",
        "conda.yaml",
        "input_example.json",
        "pyfunc_model.py",
        "python_env.yaml",
        "requirements.txt",
        "serving_input_example.json",
    }
    assert "python_model" not in (root / "MLmodel").read_text(encoding="utf-8")  # the key of a pickled model


def _site(folder: Path, names: list[str]) -> Path:
    """Makes a site-packages folder with links to these distributions and their requirements only."""
    folder.mkdir()
    waiting, done = [Requirement(name) for name in names], set()
    while waiting:
        wanted = waiting.pop()
        if (wanted.marker and not wanted.marker.evaluate({"extra": ""})) or wanted.name in done:
            continue
        done.add(wanted.name)
        waiting += [Requirement(text) for text in requires(wanted.name) or ()]
        found = distribution(wanted.name)
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
            link = folder / top
            if not link.exists():
                link.symlink_to(Path(str(found.locate_file(top))))
    return folder


_STRANGER = """
import sys, base64
sys.path.append(sys.argv[1])
import mlflow, pandas
loaded = mlflow.pyfunc.load_model("models:/colorizer@champion")
photographs = pandas.DataFrame({"image": [open(path, "rb").read() for path in sys.argv[2:]]})
for seed in (1, 1, 2):
    for content in loaded.predict(photographs, params={"seed": seed})["image"]:
        print(base64.b64encode(content).decode())
try:
    loaded.predict(photographs, params={"label": "noon"})
except Exception as error:
    assert "does not know the label noon: it was trained without labels" in str(error), error
else:
    raise AssertionError("it colored")
assert "components" not in sys.modules
assert sys.modules["model"].__file__.endswith("code/model/__init__.py"), sys.modules["model"].__file__
"""


def test_the_champion_loads_and_colors_with_only_its_requirements_installed(
    workplace: Path, tmp_path_factory: pytest.TempPathFactory, retrain: Callable[..., dict[str, Any]]
) -> None:
    retrain(0.5)
    (recorded,) = workplace.glob("workspace/mlartifacts/**/requirements.txt")
    names = recorded.read_text(encoding="utf-8").split()
    assert all("==" in name for name in names)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    site = _site(elsewhere / "site", names)
    assert not (site / "kfp").exists()
    assert not (site / "typer").exists()
    rng = np.random.default_rng(0)
    for name, shape in (("a.png", (20, 31, 3)), ("b.jpg", (33, 18))):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(elsewhere / name)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _STRANGER, str(site), "a.png", "b.jpg"],
        cwd=elsewhere,
        env={"PATH": os.environ["PATH"], "HOME": str(elsewhere), "MLFLOW_TRACKING_URI": connection.uri()}
        | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0:2] == lines[2:4]
    assert lines[0:2] != lines[4:6]
    colored = [Image.open(io.BytesIO(base64.b64decode(line))) for line in lines[:2]]
    assert [(image.format, image.size, image.mode) for image in colored] == [
        ("PNG", (31, 20), "RGB"),
        ("JPEG", (18, 33), "RGB"),
    ]
    assert np.ptp(np.asarray(colored[1]).astype(int), axis=2).max() > 0, "the gray photograph is still gray"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yields the address of an MLflow server on loopback that stores the artifacts itself."""
    home = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", str(home / "artifacts")]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (home / "log").open("wb") as log:
        running = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                break
            time.sleep(0.1)
        else:
            pytest.fail((home / "log").read_text(encoding="utf-8"))
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


@pytest.mark.slow
def test_registration_on_a_server_works_as_in_a_sqlite_file(
    workplace: Path, server: str, retrain: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert registry.champion() is None
    retrain(0.5)
    retrain(0.6, 0.5)
    assert retrain(0.4, 0.6)["outcome"] == "reject"
    assert aliases() == {"challenger": 3, "champion": 2, "previous": 1}
    assert registry.find({"weights_sha256": registry.get(2).weights_sha256}) == registry.get(2)
    model = workplace / "model-2"
    again = register(model, evaluated(model, 0.6, 0.6), workplace / "again", RULES, TAGS)
    assert (again["version"], again["outcome"]) == (2, "unchanged")
    folder = registry.fetch("models:/colorizer@champion")
    assert registry.checksum(folder) == registry.checksum(workplace / "model-2")
    with pytest.raises(UserError, match="no version 9"):
        registry.fetch("models:/colorizer/9")
    assert not (workplace / "workspace" / "mlartifacts").exists()
