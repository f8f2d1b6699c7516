"""Tests that no loaded file can execute code: the sources hold no such call, and malicious files are refused."""

import ast
import hashlib
import json
import logging
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import mlflow
import numpy as np
import pytest
import torch
import yaml
from mlflow.exceptions import MlflowException

from components.shared.mlflow import artifacts, connection, registry
from model.data.shards import Shards
from model.training.checkpoint import checkpoint_path, newest_checkpoint
from model.utils.errors import UserError
from pipeline import ROOT
from serving.photos import color_photographs
from tests.model.networks.test_weights import Payload
from tests.support.tiny import tiny_dataset

SOURCES = ("model", "components", "pipeline", "serving", "k8s", "benchmarks")
MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "cloudpickle",
    "dill",
    "joblib",
    "shelve",
    "marshal",
    "jsonpickle",
    "tarfile",
}
CALLS = {"eval", "exec", "compile", "__import__", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter"}
METHODS = {"load_model", "load_module", "read_pickle", "full_load", "unsafe_load", "unpack_archive", "extractall"}
ONLY_WITH = {
    "torch.load": "weights_only=True",
    "np.load": "allow_pickle=False",
    "numpy.load": "allow_pickle=False",
    "yaml.load": ", _Loader)",
    "yaml.load_all": ", _Loader)",
}
"""Functions that are safe only with this argument."""


def dangerous(source: str) -> Iterator[str]:
    """Yields the imports and calls that could execute code of a file or unpack one over others."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            whole = module.partition(".")[0] in MODULES
            names = [f"{module}.{name.name}" for name in node.names]
            yield from (name for name in names if whole or name in CALLS or name in ONLY_WITH)
        elif isinstance(node, ast.Call):
            name, call = ast.unparse(node.func), ast.unparse(node)
            harmless = ONLY_WITH.get(name, "") in call
            if name in CALLS or name.rpartition(".")[2] in METHODS or not harmless:
                yield call


def test_no_source_has_a_call_that_can_execute_a_loaded_file() -> None:
    files = [path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    found = {str(path.relative_to(ROOT)): list(dangerous(path.read_text(encoding="utf-8"))) for path in files}
    assert {path: calls for path, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from cloudpickle import loads",
        "from torch import load",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "np.load(path, mmap_mode='r')",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, yaml.Loader)",
        "yaml.unsafe_load(text)",
        "mlflow.pyfunc.load_model(uri)",
        "pd.read_pickle(path)",
        "torch.jit.load(path)",
        "archive.extractall(folder)",
        "eval(text)",
    ],
)
def test_a_dangerous_line_is_found(line: str) -> None:
    assert list(dangerous(line))


def test_harmless_lines_pass() -> None:
    harmless = "network.eval(); safetensors.torch.load(content); np.load(path, allow_pickle=False)"
    assert not list(dangerous(harmless))


@pytest.fixture
def payload(tmp_path: Path) -> Iterator[Payload]:
    """Yields an object that makes a folder when it is unpickled, and fails if that happened."""
    payload = Payload(tmp_path / "executed")
    pickle.loads(pickle.dumps(payload))  # noqa: S301 - shows that the payload works
    payload.path.rmdir()
    yield payload
    assert not payload.path.exists()


def test_a_pickled_checkpoint_is_skipped_with_a_warning(
    tmp_path: Path, payload: Payload, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    checkpoint_path(folder, 8).write_bytes(pickle.dumps(payload))
    torch.save({"state": payload}, checkpoint_path(folder, 16))
    with caplog.at_level(logging.WARNING):
        assert newest_checkpoint(folder, {}) is None
    assert [record.getMessage().count("cannot be used") for record in caplog.records] == [1, 1]
    assert "\n" not in caplog.records[0].getMessage()


def _poison(folder: Path, payload: Payload) -> str:
    """Replaces the weights by a pickle with a matching checksum; returns the checksum."""
    weights, description = folder / "generator.safetensors", folder / "generator.json"
    torch.save({"weight": payload}, weights)
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    description.write_text(json.dumps(json.loads(description.read_text()) | {"weights_sha256": sha256}))
    return sha256


@pytest.mark.parametrize("keep_length", [False, True])
def test_a_pickled_shard_is_refused(tmp_path: Path, payload: Payload, keep_length: bool) -> None:
    dataset = tiny_dataset(tmp_path / "dataset")
    shard = dataset / "train-00000.npy"
    length = shard.stat().st_size
    np.save(shard, np.array([payload], dtype=object), allow_pickle=True)
    if keep_length:
        shard.write_bytes(shard.read_bytes().ljust(length, b"\0"))
    with pytest.raises(UserError, match=r"train-00000\.npy holds object \(1,\), dataset\.json says uint8") as raised:
        Shards.open(dataset, "train")
    assert "\n" not in str(raised.value)


def test_a_poisoned_registered_model_is_refused(workplace: Path, payload: Payload, retrain: Callable[..., Any]) -> None:
    """Poisons every file of the champion in MLflow, with matching checksums and tags."""
    retrain(0.5)
    (root,) = (path.parent for path in workplace.glob("workspace/mlartifacts/**/MLmodel"))
    sha256 = _poison(root / "artifacts" / "generator", payload)
    registry.set_tags(1, {"weights_sha256": sha256})
    executing = f"import os; os.mkdir({str(payload.path)!r})\n"
    (root / "pyfunc_model.py").write_text(executing)
    (root / "code" / "model" / "__init__.py").write_text(executing)
    (root / "python_model.pkl").write_bytes(pickle.dumps(payload))
    photograph, champion = next((ROOT / "data").rglob("*.jpg")), "models:/colorizer@champion"
    with pytest.raises(UserError, match=r"generator\.safetensors does not fit generator\.json: .*") as raised:
        color_photographs([photograph], workplace / "out", lambda: (registry.fetch(champion), None))
    assert "\n" not in str(raised.value)

    description = yaml.safe_load((root / "MLmodel").read_text())
    flavor = description["flavors"]["python_function"]
    del flavor["model_code_path"], flavor["code"]
    flavor["python_model"] = "python_model.pkl"
    (root / "MLmodel").write_text(yaml.safe_dump(description))
    with pytest.raises(
        MlflowException, match="MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
    ):  # MLflow refuses, by the model's settings
        mlflow.pyfunc.load_model(champion)


def test_a_link_in_the_artifact_store_is_not_followed(workplace: Path, retrain: Callable[..., Any]) -> None:
    retrain(0.5)
    (generator,) = (path.parent for path in workplace.glob("workspace/mlartifacts/**/generator.json"))
    elsewhere = Path(shutil.copytree(generator, workplace / "elsewhere"))
    (generator / "generator.json").unlink()
    (generator / "generator.json").symlink_to(elsewhere / "generator.json")
    shutil.rmtree(workplace / "workspace" / "cache" / "models")  # filled by the check before the promotion
    with pytest.raises(UserError, match="resolved path is outside the artifact directory"):
        registry.fetch("models:/colorizer@champion")
    shutil.rmtree(generator)
    generator.symlink_to(elsewhere)
    with pytest.raises(UserError, match="resolved path is outside the artifact directory"):
        registry.fetch("models:/colorizer@champion")


class _Artifacts(BaseHTTPRequestHandler):
    """Serves an artifact store with one file in the folder `evaluation`."""

    name = ""

    def do_GET(self) -> None:
        (asked,) = parse_qs(urlsplit(self.path).query).get("path", [""])
        files = [{"path": self.name, "is_dir": False}] if asked.endswith("evaluation") else []
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"files": files}).encode())

    def log_message(self, *_: object) -> None:
        pass


def test_a_store_that_lists_a_file_outside_the_folder_is_refused(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workplace / "a" / "b"
    folder.mkdir(parents=True)
    client = connection.connect()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Artifacts) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}/api/2.0/mlflow-artifacts/artifacts"
        run = client.create_run(client.create_experiment("elsewhere", artifact_location=place)).info.run_id
        monkeypatch.setattr(_Artifacts, "name", "inside.txt")
        artifacts.download(f"runs:/{run}/evaluation", folder)
        monkeypatch.setattr(_Artifacts, "name", "../../outside.txt")
        with pytest.raises(UserError, match="Failed to download artifacts from path 'evaluation'"):
            artifacts.download(f"runs:/{run}/evaluation", folder)
        server.shutdown()
    assert [path.name for path in folder.parent.rglob("*.txt")] == ["inside.txt"]
