"""An HTTP proxy that fails at random, as networks and servers do; the same seed draws the same faults."""

import http.client
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support import loopback

FAULTS = ("refuse", "refuse after", "drop", "drop after", "stall", "truncate request", "truncate answer")


@dataclass
class FaultyProxy:
    """Holds the proxy's address, its faults and the requests that it received.

    Attributes:
        endpoint: its address.
        share: of the requests that meet a fault.
        requests: so far: method and path.
        faults: how many there were of each kind.
        answer: the status with which a request is answered here; None to pass it on.
        planned: by a pattern, the fault that the next such request meets; gone when it has met it.
        choose: the fault that a request meets, for tests that plan them all; one of `FAULTS`, "stall after", or "".
        stall_seconds: how long a stalled request waits for the connection's end.
    """

    endpoint: str
    share: float
    requests: list[str] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    answer: Callable[[str], int | None] = lambda request: None
    planned: dict[str, str] = field(default_factory=dict)
    choose: Callable[[str], str] = lambda request: ""
    stall_seconds: float = 1


@contextmanager
def faulty_proxy(server: str, seed: int = 0, share: float = 0.0, port: int = 0) -> Iterator[FaultyProxy]:
    """Yields a proxy on loopback to `server`, an http:// address; port 0 picks a free one."""
    draw, lock = random.Random(seed), threading.Lock()

    class Passing(loopback.Handler):
        def _pass_on(self) -> None:
            with lock:
                request = f"{self.command} {self.path}"
                proxy.requests.append(request)
                fault = draw.choice(FAULTS) if draw.random() < proxy.share else proxy.choose(request)
                for pattern in [pattern for pattern in proxy.planned if re.search(pattern, request)]:
                    fault = proxy.planned.pop(pattern)
                if fault:
                    proxy.faults[fault] = proxy.faults.get(fault, 0) + 1
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if status := proxy.answer(request) or (fault == "refuse" and draw.choice((500, 503))):
                self._answer(status)
                return
            self.close_connection = True
            if fault == "drop":
                return
            if fault == "stall":
                time.sleep(proxy.stall_seconds)
                return
            upstream = http.client.HTTPConnection(urlsplit(server).netloc, timeout=30)
            try:
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "expect"):
                        upstream.putheader(name, value)
                upstream.endheaders()
                if fault == "truncate request":
                    upstream.send(body[: len(body) // 2])
                    return
                upstream.send(body)
                answer = upstream.getresponse()
                content = answer.read()
            finally:
                upstream.close()
            if fault == "stall after":
                time.sleep(proxy.stall_seconds)
            elif fault == "refuse after":
                self._answer(500)
            elif fault != "drop after":
                self.close_connection = fault == "truncate answer"
                self.send_response_only(answer.status, answer.reason)
                length = str(len(content))
                for name, value in answer.getheaders():
                    if name.lower() == "content-length":
                        length = value  # of HEAD as well
                    elif name.lower() not in ("connection", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("Content-Length", length)
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if self.close_connection else content)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = _pass_on  # noqa: N815 - http.server's names

        def _answer(self, status: int) -> None:
            self.send_response_only(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with loopback.server(Passing, port) as url:
        proxy = FaultyProxy(url, share)
        yield proxy
