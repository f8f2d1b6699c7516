"""A server of files that misbehaves as a test asks: stalls, truncates, refuses, asks to wait, sends other bytes."""

import ipaddress
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.loopback import Handler, server


@dataclass
class PhotographServer:
    """Holds files, faults and what was asked for.

    Attributes:
        address: http://127.0.0.1:PORT.
        files: content by path.
        faults: what happens to the next requests of a path, one each: a status, a status with Retry-After ("429 1"),
            "stall", "truncate", "drip", "wrong", "large"; a path that has none is served.
        asked: paths in the order of the requests.
        most_at_once: largest number of requests in progress together.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    asked: list[str] = field(default_factory=list)
    most_at_once: int = 0
    at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    ended: threading.Event = field(default_factory=threading.Event)
    gather: threading.Barrier | None = None
    """Where requests wait for one another, for a while, before they are answered."""


@contextmanager
def photograph_server(context: ssl.SSLContext | None = None) -> Iterator[PhotographServer]:
    """Runs a server on a free port of loopback, over HTTPS with a context."""
    state = PhotographServer()

    class Served(Handler):
        def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
            path = unquote(urlsplit(self.path).path)
            with state.lock:
                state.asked.append(path)
                state.at_once += 1
                state.most_at_once = max(state.most_at_once, state.at_once)
                fault = state.faults[path].popleft() if state.faults[path] else ""
            try:
                if state.gather:
                    state.gather.wait(10)
                self._answer(fault, state.files.get(path))
            except threading.BrokenBarrierError:
                self._answer(fault, state.files.get(path))
            finally:
                with state.lock:
                    state.at_once -= 1

        def _answer(self, fault: str, content: bytes | None) -> None:
            if fault[:3].isdecimal() or content is None:
                self._head(int(fault[:3] or 404), 0, fault[4:])
            elif fault == "stall":
                self._head(200, len(content))
                self.wfile.write(content[:100])
                self.wfile.flush()
                state.ended.wait(60)
            elif fault == "truncate":
                self._head(200, len(content))
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
            elif fault == "drip":
                self._head(200, len(content))
                for place in range(len(content)):
                    self.wfile.write(content[place : place + 1])
                    self.wfile.flush()
                    if state.ended.wait(0.05):
                        break
            elif fault == "large":
                self.send_response(200)
                self.end_headers()
                while not state.ended.is_set():
                    self.wfile.write(bytes(1 << 20))
            else:
                body = b"other bytes" if fault == "wrong" else content
                self._head(200, len(body))
                self.wfile.write(body)

        def _head(self, status: int, length: int, retry_after: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            if retry_after:
                self.send_header("Retry-After", retry_after)
            self.end_headers()

    with server(Served, context=context) as state.address:
        try:
            yield state
        finally:
            state.ended.set()


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Writes a certificate for 127.0.0.1 that no authority has signed; returns its path and a server's context."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now, host = datetime.now(UTC), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([host]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    return pem, context
