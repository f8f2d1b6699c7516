"""Block of all network but loopback, for Python processes with this folder on PYTHONPATH; logs each attempt.

Names are refused too: a look-up already is traffic. The notes go to the file that NO_NETWORK_LOG names.
"""

import ipaddress
import os
import socket
import sys
from pathlib import Path
from typing import Any

_connect, _connect_ex, _getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo


def _refuse(host: Any) -> None:
    name = host.decode() if isinstance(host, bytes) else str(host)
    try:
        allowed = ipaddress.ip_address(name).is_loopback
    except ValueError:
        allowed = name in ("localhost", "", "None")
    if not allowed:
        with Path(os.environ["NO_NETWORK_LOG"]).open("a", encoding="utf-8") as log:
            log.write(f"{name} by {sys.argv}\n")
        raise OSError(f"no network in this test: {name}")


def _guarded_connect(self: socket.socket, address: Any) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6):
        _refuse(address[0])
    _connect(self, address)


def _guarded_connect_ex(self: socket.socket, address: Any) -> int:
    if self.family in (socket.AF_INET, socket.AF_INET6):
        _refuse(address[0])
    return _connect_ex(self, address)


def _guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
    _refuse(host)
    return _getaddrinfo(host, *args, **kwargs)


socket.socket.connect = _guarded_connect  # type: ignore[method-assign, assignment]
socket.socket.connect_ex = _guarded_connect_ex  # type: ignore[method-assign, assignment]
socket.getaddrinfo = _guarded_getaddrinfo
