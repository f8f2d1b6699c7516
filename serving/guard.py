"""Check of the names under which a request reaches the server, so that no page elsewhere can use it."""

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.errors import problem

HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]
"""Headers of every answer, for browsers."""


class Guard:
    """ASGI middleware that refuses foreign `Host` and `Origin` headers, and answers HEAD as GET.

    A browser on the machine of the server can reach it for any page that the user visits. Such a page has another
    origin; if its name was bound to the server's address (DNS rebinding), it has another host. An address in numbers
    cannot be rebound, so it is always a valid host.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        """
        Args:
            app: the application.
            names: names under which browsers and proxies reach the server, beside localhost and addresses in numbers.
        """
        self._app, self._names = app, {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if host and not self._serves(_host(host)):
            detail = f"this server is not {host!r:.100}; colorize web --allow-host adds a name"
            return await problem(400, detail)(scope, receive, send)
        if (
            origin is not None
            and (not host or origin.lower().partition("://")[2] != host.lower())
            and _name(origin) not in self._names
        ):
            detail = f"pages of {origin!r:.100} may not use this server; colorize web --allow-host adds a name"
            return await problem(403, detail)(scope, receive, send)
        if scope["method"] == "HEAD":  # the server sends no body to HEAD, whatever it gets from here
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)

    def _serves(self, name: str) -> bool:
        return name in self._names or name == "localhost" or _in_numbers(name)


def _host(header: str) -> str:
    """Returns the name in a `Host` header; empty if the header holds more than a name and a port."""
    return "" if set(header) & set("@/\\?#") else _name(f"//{header}")


def _name(url: str) -> str:
    """Returns the name of the host in a URL; empty if it is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _in_numbers(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
