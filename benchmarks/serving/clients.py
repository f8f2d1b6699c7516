"""Clients of the server: polite ones in a closed loop, and rude ones."""

import http.client
import itertools
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

_PAUSE = 0.5  # seconds before a refused client asks again


class Answer(NamedTuple):
    """Holds what a client saw of one request."""

    kind: str
    """Name of its client."""
    began: float
    seconds: float
    status: int
    """HTTP status; 0 if the connection ended without one."""


def ask(port: int, body: bytes, kind: str = "") -> Answer:
    """Sends a photograph and reads the whole answer."""
    began = time.perf_counter()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        connection.request("POST", "/v1/colorize", body)
        response = connection.getresponse()
        response.read()
        connection.close()
        status = response.status
    except (OSError, http.client.HTTPException):
        status = 0
    return Answer(kind, began, time.perf_counter() - began, status)


def closed_loop(port: int, bodies: Sequence[bytes], clients: int, seconds: float) -> list[Answer]:
    """Runs clients that each send the next request after an answer; returns the colored ones within the time."""
    ends = time.perf_counter() + seconds
    answers: list[Answer] = []

    def client(start: int) -> None:
        for body in itertools.islice(itertools.cycle(bodies), start, None):
            answer = ask(port, body)
            if time.perf_counter() > ends:
                return
            if answer.status == 200:
                answers.append(answer)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return answers


def slow(port: int, body: bytes) -> int:
    """Sends a photograph with a tenth of the least rate that the server takes."""
    with _begun(port, len(body)) as connection:
        connection.settimeout(1)
        for start in range(0, len(body), 1000):
            connection.sendall(body[start : start + 1000])
            try:
                return _status(connection.recv(65536))
            except TimeoutError:
                continue
    return 0


def silent(port: int, body: bytes) -> int:
    """Sends the head of a request, and no body."""
    with _begun(port, len(body)) as connection:
        return _status(connection.recv(65536))


def idle(port: int, body: bytes) -> int:
    """Opens a connection and sends nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=300) as connection:
        return _status(connection.recv(65536))


def broken(port: int, body: bytes) -> int:
    """Sends a photograph that is cut, changed, or none at all."""
    kind = random.randrange(3)
    if kind == 0:
        body = body[: random.randrange(len(body))]
    elif kind == 1:
        places = random.sample(range(len(body)), 50)
        changed = bytearray(body)
        for place in places:
            changed[place] ^= 255
        body = bytes(changed)
    else:
        body = random.randbytes(10_000)
    return ask(port, body).status


def leaving(port: int, body: bytes) -> int:
    """Sends a photograph, whole or not, and resets the connection within two seconds."""
    with _begun(port, len(body)) as connection:
        connection.sendall(body[: random.choice((len(body) // 2, len(body)))])
        time.sleep(random.uniform(0, 2))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return 0


def run(clients: Sequence[tuple[str, Callable[[], int]]], seconds: float) -> list[Answer]:
    """Runs each client in a loop for some time; returns all answers in the order of their requests.

    Args:
        clients: names and functions that make one request and return its status. One name may stand for several.
        seconds: time after which no request begins.
    """
    ends = time.perf_counter() + seconds
    answers: list[Answer] = []

    def client(kind: str, request: Callable[[], int]) -> None:
        while (began := time.perf_counter()) < ends:
            try:
                status = request()
            except OSError:
                status = 0
            answers.append(Answer(kind, began, time.perf_counter() - began, status))
            if status != 200:
                time.sleep(_PAUSE)

    threads = [threading.Thread(target=client, args=one) for one in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(answers, key=lambda one: one.began)


class MemoryWatch:
    """Notes the memory of a process every second, for the block of a `with`."""

    def __init__(self, pid: int) -> None:
        self.seen: list[tuple[float, int]] = []
        """Time and bytes."""
        self._pid, self._ended = pid, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            pages = int(Path(f"/proc/{self._pid}/statm").read_text(encoding="utf-8").split()[1])
            self.seen.append((time.perf_counter(), pages * os.sysconf("SC_PAGE_SIZE")))
            if self._ended.wait(1):
                return


def _begun(port: int, length: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=300)
    head = f"POST /v1/colorize HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def _status(answer: bytes) -> int:
    return int(answer.split()[1]) if answer.startswith(b"HTTP/") else 0
