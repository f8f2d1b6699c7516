"""Fixtures: a Kubeflow Pipelines server, the command line in this process, and fixtures of the components."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.shared.machine.workspace import VARIABLE
from pipeline import compile as compiled
from pipeline.cli import main as cli
from pipeline.cluster import client as kubeflow
from pipeline.cluster import runs
from tests.components.conftest import migrated, retrain, workplace
from tests.components.evaluate.conftest import dataset
from tests.support.kfp_server import KfpServer, kfp_server

__all__ = ["colorize", "dataset", "kfp", "migrated", "retrain", "workplace"]


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


_to_yaml = compiled.to_yaml
_compiled: dict[bytes, str] = {}


def _compile_once(cluster: Path | None = None) -> str:
    """Returns the compiled graph. It is compiled once for the same settings: kfp takes seconds under pytest."""
    settings = cluster.read_bytes() if cluster and cluster.is_file() else str(cluster).encode()
    if settings not in _compiled:
        _compiled[settings] = _to_yaml(cluster)
    return _compiled[settings]


@pytest.fixture
def kfp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KfpServer]:
    """Yields an empty Kubeflow Pipelines server that the environment names; the client does not pause."""
    for name in [name for name in os.environ if name.startswith(("KF_PIPELINES", "COLORIZE_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(kubeflow, "PAUSES", (0.01, 0.01, 0.01))
    monkeypatch.setattr(compiled, "to_yaml", _compile_once)
    monkeypatch.setattr(runs, "POLL_SECONDS", 0.01)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr("kfp.client.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "kfp" / "context.json"))
    with kfp_server() as server:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.url)
        yield server


@pytest.fixture
def colorize(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Returns a function that runs a command of the command line in this process."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "workspace"))

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["colorize", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Done(int(ended.value.code or 0), *capfd.readouterr())

    return run
