"""Connections of the server: it ends those that send no request, take no answer, or are too many of one client."""

import asyncio
from ipaddress import ip_address, ip_network

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.errors import problem
from serving.limits import Limits


class Connection(H11Protocol):
    """Adds to uvicorn's protocol a time for the head of a request, one for the answer, and a number for each client.

    uvicorn itself ends a connection only between two requests, after `timeout_keep_alive`.
    """

    limits = Limits()
    """Set on a subclass: uvicorn makes the objects."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins the time for the first request; closes the client's oldest waiting connection if it has too many."""
        self._head: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        super().connection_made(transport)  # type: ignore[arg-type]
        self.transport.set_write_buffer_limits(0)  # so that `pause_writing` is called whenever a client falls behind
        self._network = _network(self.client)
        self._since = self.loop.time()
        self._watch()
        waiting = [one for one in self.connections if isinstance(one, Connection) and one.waits(self._network)]
        if len(waiting) > self.limits.connections:
            min(waiting, key=lambda one: one._since).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the times."""
        super().connection_lost(exc)
        for timer in (self._head, self._stuck):
            if timer:
                timer.cancel()

    def waits(self, network: str) -> bool:
        """Returns whether this connection is from a network and waits for a request or for its body."""
        return self._network == network and not self.transport.is_closing() and (self._idle or self.cycle.more_body)

    def handle_events(self) -> None:
        """Handles what was received; then begins or ends the time for a head."""
        super().handle_events()
        self._watch()

    def pause_writing(self) -> None:
        """Begins the time in which the client must take a part of the answer."""
        super().pause_writing()
        self._stuck = self._stuck or self.loop.call_later(self.limits.idle_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Ends that time."""
        super().resume_writing()
        if self._stuck:
            self._stuck.cancel()
            self._stuck = None

    def send_400_response(self, msg: str) -> None:
        """Answers what is no request like the application answers errors; then closes the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = problem(400, "this is no valid HTTP request")
            headers = [*answer.raw_headers, *self.server_state.default_headers, (b"connection", b"close")]
            for event in (
                h11.Response(status_code=400, headers=headers), h11.Data(data=bytes(answer.body)), h11.EndOfMessage()
            ):  # fmt: skip
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Does nothing: such a request is answered as any other, and strangers must not fill the log."""

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        if not self._idle and self._head:
            self._head.cancel()
            self._head = None
        elif self._idle and not self._head:
            self._since = self.loop.time()
            self._head = self.loop.call_later(self.limits.head_seconds, self.transport.abort)


def _network(client: tuple[str, int] | None) -> str:
    """Returns the address of a client, or the network of 64 bits that one client of IPv6 usually has."""
    if client is None:
        return ""
    address = ip_address(client[0])
    return client[0] if address.version == 4 else str(ip_network((address, 64), strict=False))
