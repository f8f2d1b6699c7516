"""A real MLflow server for tests: a process on loopback, over a SQLite file that has its tables already."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_READY_SECONDS = 180


@contextmanager
def mlflow_server(
    folder: Path, port: int = 0, store: str = "", options: Sequence[str] = (), **variables: str
) -> Iterator[str]:
    """Yields its address; `folder` holds mlflow.db, and gets artifacts and log.

    Args:
        folder: of the server.
        port: Port of the server; 0 picks a free one.
        store: s3://bucket/prefix of the artifacts in place of the folder.
        options: of the server's command line, such as --app-name basic-auth.
        variables: of the server's environment.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        store or str(folder / "files"),
        *options,
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # eight processes more, as k8s/base/mlflow.yaml
    environment |= variables
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True) as server,
    ):
        try:
            _wait(address, server)
            yield address
        finally:
            os.killpg(server.pid, signal.SIGKILL)  # with its worker


def _wait(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
        except (urllib.error.URLError, OSError):
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
