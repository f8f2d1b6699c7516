"""Tests of `colorize web` as a process: its address, its traces and its end."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.conftest import Promote, picture, pixels


class Server:
    """Runs `colorize web` with all its files in one folder."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = folder / "log"
        command = [str(Path(sys.executable).with_name("colorize")), "web", "--port", str(self.port)]
        places = {name: str(folder) for name in ("HOME", "TMPDIR")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=os.environ | places | {"COLORIZE_WORKSPACE": str(folder / "workspace")},
                stdout=log, stderr=log,
            )  # fmt: skip
        for _ in range(1200):
            try:
                if self.request("GET", "/readyz").status == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        pytest.fail(self.log.read_text(encoding="utf-8"))

    def request(self, method: str, path: str, body: bytes | None = None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body)
        response = connection.getresponse()
        response.content = response.read()
        connection.close()
        return response

    def written(self) -> int:
        """Returns the number of bytes that the process has written to a disk."""
        lines = Path(f"/proc/{self.process.pid}/io").read_text(encoding="utf-8").splitlines()
        return int(dict(line.split(": ") for line in lines)["write_bytes"])


@pytest.fixture
def server(promote: Promote, workplace: Path) -> Iterator[Server]:
    promote()
    running = Server(workplace)
    yield running
    running.process.kill()
    running.process.wait()


def test_server_listens_on_loopback_stores_no_photograph_and_finishes_requests_on_sigterm(
    server: Server, workplace: Path
):
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]]
    listening = {row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{server.port:04X}")}
    assert listening == {f"0100007F:{server.port:04X}"}

    content = picture(2000, 1500, "BMP")  # nine megabytes, not compressed
    assert server.request("POST", "/v1/colorize", picture()).status == 200
    before, files = server.written(), {path: path.stat().st_mtime_ns for path in workplace.rglob("*")}
    for body in (content, content[:-1000], b"secret" * 200_000):
        server.request("POST", "/v1/colorize", body)
    kept = {name for name in files if name.name != ".mlflow.lock"}
    after = {path: path.stat().st_mtime_ns for path in workplace.rglob("*")}
    assert {path for path in kept if after.get(path) != files[path]} == set()
    assert after.keys() == files.keys()
    assert server.written() - before < 100_000

    answers = []
    asking = threading.Thread(target=lambda: answers.append(server.request("POST", "/v1/colorize", content)))
    asking.start()
    while b"colorize_in_progress 1.0" not in server.request("GET", "/metrics").content:
        pass
    server.process.send_signal(signal.SIGTERM)
    asking.join()
    assert answers[0].status == 200
    assert pixels(answers[0].content).shape == (1500, 2000, 3)
    assert server.process.wait(timeout=30) == -signal.SIGTERM  # uvicorn raises it again after the last answer
    log = server.log.read_text(encoding="utf-8")
    assert "secret" not in log
    assert "Traceback" not in log
    assert f"http://127.0.0.1:{server.port}" in log
    assert len(log.splitlines()) < 15
