"""Sockets of the server, opened before anything is loaded."""

import errno
import socket

from model.utils.errors import UserError

_REASONS = {
    errno.EADDRINUSE: "another program uses port {port}; choose another --port, or 0 for any free one",
    errno.EADDRNOTAVAIL: "{host} is no address of this machine; --host 127.0.0.1 or 0.0.0.0 always is",
    errno.EACCES: "only root may use port {port}; choose a --port above 1023",
}


def bind(host: str, port: int) -> list[socket.socket]:
    """Returns a bound socket for each address of a host; port 0 gives all of them the same free port.

    Raises:
        UserError: the host is unknown or foreign, or the port is in use or reserved.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise UserError(f"--host: no host named {host!r} is known; give an address of this machine.") from None
    bound: list[socket.socket] = []
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            opened = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            if error.errno == errno.EAFNOSUPPORT and len(found) > 1:  # a machine without IPv6 whose localhost names ::1
                continue
            raise UserError(f"The server cannot listen: {host} is no address of this machine.") from None
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if bound:
            address = (address[0], bound[0].getsockname()[1], *address[2:])
        try:
            opened.bind(address)
            opened.listen()  # from here on the port is taken, while the model is loading
        except OSError as error:
            opened.close()
            if bound and error.errno == errno.EADDRNOTAVAIL:  # localhost names ::1 on a machine without IPv6
                continue
            reason = _REASONS.get(error.errno or 0, error.strerror or str(error)).format(host=host, port=address[1])
            raise UserError(f"The server cannot listen: {reason}.") from None
        bound.append(opened)
    return bound
