"""Process of the server, for `colorize web`."""

import faulthandler
import logging
import socket
from collections.abc import Collection, Sequence
from dataclasses import replace
from types import FrameType

import uvicorn
from fastapi import FastAPI

from components.shared.machine.verbosity import is_quiet
from serving.app import create_app
from serving.connections import Connection
from serving.delivery import MARKED, Delivery
from serving.guard import HEADERS
from serving.limits import Limits
from serving.served_models import ServedModels

_HEAD = 64 << 10  # bytes of the head of a request

_log = logging.getLogger(__name__)


def serve(
    sockets: Sequence[socket.socket],
    models: ServedModels,
    limits: Limits,
    names: Collection[str] = (),
    delivery: Delivery = MARKED,
) -> None:
    """Serves until SIGINT or SIGTERM, then answers the requests that have begun.

    Args:
        sockets: the result of `serving.address.bind`.
        models: models to serve.
        limits: limits of requests.
        names: names under which browsers and proxies reach the server, as in `Guard`.
        delivery: mark and signature of the answers.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("serving", "uvicorn.error"):  # uvicorn logs all but its access log under this name
        logging.getLogger(name).setLevel(logging.WARNING if is_quiet() else logging.INFO)
    for one in sockets:
        host, port = one.getsockname()[:2]
        _log.info("http://%s:%d", f"[{host}]" if ":" in host else host, port)
    app = create_app(models, replace(limits, enforced=True), names, delivery)
    config = configuration(app, limits)
    _Server(config, limits.killed_seconds).run(list(sockets))


def configuration(app: FastAPI, limits: Limits) -> uvicorn.Config:
    """Returns uvicorn's settings: times and numbers of connections, headers, and no log of requests."""
    return uvicorn.Config(
        app,
        http=type("Limited", (Connection,), {"limits": limits}),
        ws="none",
        h11_max_incomplete_event_size=_HEAD,
        headers=HEADERS,
        server_header=False,
        proxy_headers=False,
        log_config=None,
        access_log=False,  # requests stay private; /metrics counts them
        timeout_graceful_shutdown=round(limits.ending_seconds),
    )


class _Server(uvicorn.Server):
    """Ends the process some seconds after the first signal, whatever its threads do.

    The log then says what they did.
    """

    def __init__(self, config: uvicorn.Config, seconds: float) -> None:
        super().__init__(config)
        self._seconds = seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins the end; a thread of the interpreter itself ends the process if Python cannot."""
        if not self.should_exit:
            faulthandler.dump_traceback_later(self._seconds, exit=True)
        super().handle_exit(sig, frame)
