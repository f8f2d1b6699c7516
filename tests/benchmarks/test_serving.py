"""Tests of the load: its clients against a server that serves two requests at once, and what counts as a failure."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.serving import clients
from benchmarks.serving.clients import Answer, MemoryWatch, ask, closed_loop
from benchmarks.serving.main import _failures, _of_memory, _of_sizes

_places = threading.Semaphore(2)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.connection.settimeout(2)
        try:
            content = self.rfile.read(int(self.headers["Content-Length"]))
        except TimeoutError:
            self.send_error(408)
            return
        if content.startswith(b"good") and _places.acquire(blocking=False):
            time.sleep(0.1)
            _places.release()
            self.send_response(200)
        else:
            self.send_response(429 if content.startswith(b"good") else 415)
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
    answers = closed_loop(port, [b"good", b"goods"], clients=1, seconds=0.5)
    assert 1 <= len(answers) <= 5
    assert all(one.status == 200 and one.seconds >= 0.1 for one in answers)


def test_clients_run_side_by_side_and_refusals_are_counted(port: int):
    good = [("good", partial(lambda: ask(port, b"good").status)) for _ in range(4)]
    with MemoryWatch(os.getpid()) as memory:
        answers = clients.run([*good, ("broken", partial(clients.broken, port, b"good" * 1000))], seconds=1.0)
    counted = Counter((one.kind, one.status) for one in answers)
    assert counted["good", 200] > 0
    assert counted["good", 429] > 0
    assert {kind for kind, _ in counted} == {"good", "broken"}
    assert memory.seen[0][1] > 1_000_000


@pytest.mark.parametrize(("call", "statuses"), [(clients.silent, {408}), (clients.leaving, {0})])
def test_rude_clients_report_how_it_ended(port: int, call: object, statuses: set[int]):
    assert call(port, b"good" * 1000) in statuses


def test_what_the_server_does_not_hold_is_named():
    answers = [Answer("32 x 32", float(at), 0.1, 200) for at in range(100)]
    flat = [(float(at), 1_000_000_000) for at in range(100)]
    fine = _of_sizes(answers) | _of_memory(flat) | {"32 x 32: p99 beside them / without": 2.0}
    assert list(_failures(answers, fine)) == []
    grown = [(at, int(size * (1 + at / 300))) for at, size in flat]
    bad = _of_memory(grown) | {"32 x 32: p99 beside them / without": 3.5}
    found = " ".join(_failures([*answers, Answer("broken", 1.0, 1.0, 500)], bad))
    for words in ("[500]", "memory (mean) grew", "3.5 times as slow"):
        assert words in found
