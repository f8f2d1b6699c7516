"""Tests of the server's sockets."""

import errno
import socket
from typing import Any

import pytest

from model.utils.errors import UserError
from serving.address import bind


def test_a_port_is_taken_before_the_model_is_loaded():
    with bind("127.0.0.1", 0)[0] as first, pytest.raises(UserError, match="another program uses port"):
        bind("127.0.0.1", first.getsockname()[1])


def test_a_machine_without_ipv6_listens_on_the_other_address(monkeypatch: pytest.MonkeyPatch):
    real, v4 = socket.socket, (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    v6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0))

    def without(family: int = socket.AF_INET, *rest: Any, **options: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *rest, **options)

    monkeypatch.setattr("serving.address.socket.socket", without)
    monkeypatch.setattr("serving.address.socket.getaddrinfo", lambda *_, **__: [v6, v4])
    with bind("localhost", 0)[0] as only:
        assert only.getsockname()[0] == "127.0.0.1"
    monkeypatch.setattr("serving.address.socket.getaddrinfo", lambda *_, **__: [v6])
    with pytest.raises(UserError, match="::1 is no address of this machine"):
        bind("::1", 0)
