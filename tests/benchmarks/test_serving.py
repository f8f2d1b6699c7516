"""Tests of the load generators, against a server that serves two requests at once."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.serving import closed_loop, open_loop

_places = threading.Semaphore(2)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if _places.acquire(blocking=False):
            time.sleep(0.1)
            _places.release()
            self.send_response(200)
        else:
            self.send_response(429)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_closed_loop_sends_each_request_after_the_last_answer(port: int):
    answers = closed_loop(port, [b"a", b"b"], clients=1, seconds=0.5)
    assert 1 <= len(answers) <= 5
    assert all(one.status == 200 and one.seconds >= 0.1 for one in answers)


def test_an_open_loop_sends_all_requests_at_its_rate_despite_refusals(port: int):
    answers, memory = open_loop(port, [b"a"], rate=80, seconds=1.2, pid=os.getpid())
    counted = Counter(one.status for one in answers)
    assert len(answers) == 96
    assert set(counted) == {200, 429}
    assert memory[0][1] > 1_000_000
