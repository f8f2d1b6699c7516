"""Tests of `colorize web` as a process: its address, its traces and its end."""

import http.client
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.model.inference.test_colorizer import generator_folder
from tests.serving.conftest import Promote, picture, pixels, until
from tests.support.dvc_project import ROOT
from tests.support.patience import patience


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
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience(60))
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


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--port", "{used}"], "another program uses port {used}"),
        (["--host", "198.51.100.7"], "198.51.100.7 is no address of this machine"),
        (["--host", "nowhere.invalid"], "no host named 'nowhere.invalid' is known"),
    ],
)
def test_a_wrong_address_is_one_sentence_before_anything_is_loaded(options: list[str], sentence: str, workplace: Path):
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        options = [option.format(used=port) for option in options]
        ended = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "pipeline.cli.main", "web", *options],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    lines = ended.stderr.splitlines()
    said = [line for line in lines if not line.startswith("import time:")]
    assert ended.returncode == 1
    assert len(said) == 1
    assert sentence.format(used=port) in said[0]
    assert {"torch", "fastapi", "mlflow"}.isdisjoint(line.rpartition("|")[2].strip() for line in lines)


STUCK = """
import sys, time
from pathlib import Path
from serving import app
from serving.address import bind
from serving.limits import Limits
from serving.served_models import ServedFolder
from serving.server import serve

app.decode = lambda *_, **__: time.sleep(1000)
sockets = bind("127.0.0.1", 0)
print(sockets[0].getsockname()[1], flush=True)
serve(sockets, ServedFolder(Path(sys.argv[1])), Limits(ending_seconds=1, killed_seconds=2))
"""


def test_sigterm_ends_a_server_whose_threads_are_stuck(tmp_path: Path):
    folder = generator_folder(tmp_path / "generator")
    command = [sys.executable, "-c", STUCK, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience(60))
        until(lambda: _connects(port))
        connection.request("POST", "/v1/colorize", picture())
        until(lambda: b"colorize_in_progress 1.0" in _metrics(port))
        process.send_signal(signal.SIGTERM)
        assert connection.getresponse().status == 503
        assert process.wait(timeout=patience(60)) == 1


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _metrics(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience(60))
    connection.request("GET", "/metrics")
    return connection.getresponse().read()


@pytest.mark.slow
def test_the_largest_photographs_leave_the_server_ready_and_sigterm_in_time(server: Server):
    content = io.BytesIO()
    Image.new("L", (7050, 7050), 128).save(content, "PNG")  # 49.7 megapixels in 48 KB
    large = content.getvalue()
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(server.request, "POST", "/v1/colorize", large) for _ in range(4)]
        until(lambda: b"colorize_in_progress 4.0" in server.request("GET", "/metrics").content)
        for _ in range(3):
            assert server.request("GET", "/readyz").status == 200
            assert server.request("POST", "/v1/colorize", picture()).status == 200
        server.process.send_signal(signal.SIGTERM)
        manifest = yaml.safe_load_all((ROOT / "k8s" / "base" / "web.yaml").read_text(encoding="utf-8"))
        grace = next(manifest)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert server.process.wait(timeout=grace) == -signal.SIGTERM
        assert {one.result().status for one in asked} <= {200, 503}


def test_work_for_callers_who_left_ends(server: Server):
    content = picture(3000, 2000)
    rude = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
    for connection in rude:
        connection.sendall(
            b"POST /v1/colorize HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(content)
        )
        connection.sendall(content)
    until(lambda: b"colorize_in_progress 4.0" in server.request("GET", "/metrics").content)
    for connection in rude:
        connection.close()
    until(lambda: b"colorize_in_progress 0.0" in server.request("GET", "/metrics").content)
    assert server.request("POST", "/v1/colorize", content).status == 200  # a place among four is free
