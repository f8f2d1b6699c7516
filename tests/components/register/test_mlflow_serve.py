"""Tests of `mlflow models serve` with the registered version."""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.shared.mlflow import connection


@pytest.fixture
def scoring(workplace: Path, retrain: Callable[..., dict[str, Any]]) -> Iterator[str]:
    """Yields the address of the champion's scoring server."""
    retrain(0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", "models:/colorizer@champion"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"MLFLOW_TRACKING_URI": connection.uri(), "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    with Path("log").open("wb") as log:
        running = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(1200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping")
                break
            except OSError:
                time.sleep(0.05)
        else:
            pytest.fail(Path("log").read_text(encoding="utf-8"))
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


@pytest.mark.slow  # a server's start takes ten seconds
def test_mlflow_serve_returns_the_predictions_of_pyfunc(scoring: str):
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 31), dtype=np.uint8)).save(content, "PNG")
    photograph = content.getvalue()
    asked = {
        "dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(photograph).decode()]]},
        "params": {"seed": 3},
    }
    request = urllib.request.Request(scoring, json.dumps(asked).encode(), {"Content-Type": "application/json"})
    answer = json.load(urllib.request.urlopen(request))
    served = base64.b64decode(answer["predictions"][0]["image"])
    loaded = mlflow.pyfunc.load_model("models:/colorizer@champion")
    expected = loaded.predict(pd.DataFrame({"image": [photograph]}), params={"seed": 3})["image"][0]
    pictures = [np.asarray(Image.open(io.BytesIO(one))).astype(int) for one in (served, expected)]
    assert pictures[0].shape == (20, 31, 3)
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
