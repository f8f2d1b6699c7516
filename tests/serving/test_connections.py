"""Tests of slow, idle, greedy and rude clients, against the server on loopback."""

import http.client
import json
import socket
import struct
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from serving.limits import Limits
from tests.serving.conftest import picture, until
from tests.support.patience import patience

Listen = Callable[..., str]
HEAD = b"POST /v1/colorize HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


def connect(url: str, *sent: bytes, receive_buffer: int = 0) -> socket.socket:
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(60)
    connection.connect((urlsplit(url).hostname, urlsplit(url).port))
    for part in sent:
        connection.sendall(part)
    return connection


def rest(connection: socket.socket) -> bytes:
    """Returns what the server sends until it closes the connection; fails if it never does."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


def drip(connection: socket.socket, byte: bytes) -> bytes:
    """Sends a byte every 50 ms; returns the server's answer, empty if it closes the connection."""
    connection.settimeout(0.05)
    for _ in range(1200):
        try:
            connection.sendall(byte)
            return connection.recv(65536)
        except TimeoutError:
            continue
        except ConnectionError:
            return b""
    pytest.fail("the server takes a byte every 50 ms for a minute")


def post(url: str, body: bytes, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=patience(60))
    connection.request("POST", "/v1/colorize", body, headers)
    return connection.getresponse()


def metrics(url: str) -> list[bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=patience(60))
    connection.request("GET", "/metrics")
    return connection.getresponse().read().splitlines()


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: local"])
def test_a_head_that_does_not_come_or_does_not_end_is_timed_out(listen: Listen, sent: bytes):
    assert rest(connect(listen(Limits(head_seconds=0.3)), sent)) == b""


def test_a_head_that_comes_byte_by_byte_is_timed_out(listen: Listen):
    connection = connect(listen(Limits(head_seconds=0.3)))
    assert drip(connection, b"G") == b""


def test_a_body_that_stalls_or_drips_ends_with_408(listen: Listen):
    url = listen(Limits(idle_seconds=0.3, idle_bytes=1000))
    stalled = connect(url, HEAD % 100_000, bytes(1500))
    assert b"408" in stalled.recv(65536).partition(b"\r\n")[0]
    assert b"408" in drip(connect(url, HEAD % 100_000), b"x").partition(b"\r\n")[0]


def test_a_slow_body_above_the_least_rate_is_colored(listen: Listen):
    url = listen(Limits(idle_seconds=2.0, idle_bytes=100))
    content = picture()
    connection = connect(url, HEAD % len(content))
    for start in range(0, len(content), 200):
        connection.sendall(content[start : start + 200])
    assert b"200" in connection.recv(65536).partition(b"\r\n")[0]


def test_senders_of_nothing_take_no_place(listen: Listen):
    url = listen(Limits(max_requests=1))
    silent = [connect(url, HEAD % 1_000_000) for _ in range(12)]
    until(lambda: any(line.startswith(b"process_open_fds") for line in metrics(url)))
    assert post(url, picture()).status == 200
    for connection in silent:
        connection.close()


def test_the_oldest_waiting_connection_of_a_client_with_too_many_is_closed(listen: Listen):
    url = listen(Limits(connections=3))
    waiting = [connect(url) for _ in range(5)]
    for old in waiting[:2]:
        assert rest(old) == b""
    assert post(url, picture()).status == 200  # it closes the third
    assert rest(waiting[2]) == b""
    waiting[4].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert rest(waiting[4]).endswith(b"ok")


def test_an_answer_that_nobody_takes_is_dropped(listen: Listen):
    url = listen(Limits(idle_seconds=0.5))
    content = picture(2000, 1500, "BMP")  # the answer has nine megabytes, more than a socket holds
    greedy = connect(url, HEAD % len(content), content, receive_buffer=4096)
    until(lambda: b'colorize_requests_total{path="/v1/colorize",status="200"} 1.0' in metrics(url))
    assert len(rest(greedy)) < 9_000_000


def test_a_broken_connection_ends_the_request(listen: Listen):
    url = listen()
    rude = connect(url, HEAD % 100_000, bytes(1000))
    rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends by a reset
    rude.close()
    until(lambda: b'colorize_requests_total{path="/v1/colorize",status="400"} 1.0' in metrics(url))
    assert post(url, picture()).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        HEAD.replace(b"%d", b"-5"),
        b"POST /v1/colorize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_request_gets_the_answer_of_an_error(address: str, sent: bytes):
    head, _, body = rest(connect(address, sent)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"content-type: application/problem+json" in head
    assert b"x-content-type-options: nosniff" in head
    assert json.loads(body)["detail"] == "this is no valid HTTP request"


def test_an_answer_before_the_end_of_a_body_and_an_upgrade_log_no_bug(address: str, caplog: pytest.LogCaptureFixture):
    early = connect(address, b"POST /v1/colorize HTTP/1.1\r\nHost: evil.example\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert b"400" in early.recv(65536).partition(b"\r\n")[0]
    early.sendall(b"zz\r\n")
    rest(early)
    upgrade = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    assert rest(connect(address, upgrade)).endswith(b"ok")
    assert {record.getMessage() for record in caplog.records if record.levelname != "INFO"} <= {
        "Invalid HTTP request received."
    }


def test_every_answer_has_the_headers_for_browsers_and_head_answers_as_get(listen: Listen):
    url = listen()
    for path in ("/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/page/page.js", "/nowhere", "/v1/colorize"):
        answers = []
        for method in ("GET", "HEAD"):
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=patience(60))
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            answers.append((answer.status, answer.headers["Content-Type"]))
            assert bool(body) == (method == "GET")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["Server"] is None
        assert answers[0] == answers[1], path


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:8080"}, 200),
        ({"Host": "127.0.0.1", "Origin": "http://127.0.0.1"}, 200),
        ({"Host": "[::1]:8080", "Origin": "http://[::1]:8080"}, 200),
        ({"Host": "Photos.example.com", "Origin": "https://photos.example.com"}, 200),
        ({"Host": "10.1.2.3:8080", "Origin": "https://photos.example.com"}, 200),  # a proxy that sets its own Host
        ({"Host": "rebound.example.com"}, 400),
        ({"Host": "photos.example.com.evil.example"}, 400),
        ({"Host": "127.0.0.1.evil.example"}, 400),
        ({"Host": "localhost@evil.example"}, 400),
        ({"Host": "evil.example@localhost"}, 400),
        ({"Host": "localhost/evil.example"}, 400),
        ({"Host": "::1"}, 400),
        ({"Host": "[::1"}, 400),
        ({"Host": "LOCALHOST", "Origin": "HTTP://LocalHost"}, 200),
        ({"Host": "", "Origin": "null"}, 403),
        ({"Host": "localhost", "Origin": "https://evil.example"}, 403),
        ({"Host": "localhost:8080", "Origin": "http://localhost:3000"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Host": "localhost", "Origin": ""}, 403),
    ],
)
def test_foreign_hosts_and_origins_are_refused(address: str, headers: dict[str, str], status: int):
    answer = post(address, picture(), **headers)
    assert answer.status == status, answer.read()
    if status != 200:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert b"--allow-host" in answer.read()
