"""A real HTTP server for tests that takes a webhook's messages, or hangs, drips, drops, redirects, fails."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "T00-a-secret"


class Receiver(ThreadingHTTPServer):
    """Behaves by `plan`, one word or status for each request in turn, the last one for all that follow."""

    daemon_threads = True

    def __init__(self, *plan: str | int) -> None:
        self.plan = list(plan)
        self.messages: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks/{TOKEN}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.paths.append(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        turn = self.server.plan.pop(0) if len(self.server.plan) > 1 else self.server.plan[0]
        if turn == "hang":
            self.server.over.wait()
        elif turn == "drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not self.server.over.wait(0.05):
                self.wfile.write(b"X-More: to come\r\n")
        elif turn == "redirect":
            self.send_response(307)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
        elif turn != "drop":
            self.server.messages.append(json.loads(body))
            self.send_response(int(turn))
            self.end_headers()
        self.close_connection = True

    def do_GET(self) -> None:
        self.server.paths.append(self.path)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiver(*plan: str | int) -> Iterator[Receiver]:
    with Receiver(*plan) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
