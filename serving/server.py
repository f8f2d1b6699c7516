"""`colorize web`: the server's process."""

import logging

import uvicorn

from serving.app import create_app
from serving.served_models import Aliases
from serving.worker import Limits


def serve(host: str, port: int, aliases: Aliases) -> None:
    """Serves until SIGINT or SIGTERM, then answers what it has begun.

    Args:
        host: address to listen on.
        port: 0 for any that is free.
        aliases: what is served.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("serving", "uvicorn.error"):  # the latter is uvicorn's name for all but the access log
        logging.getLogger(name).setLevel(logging.INFO)
    limits = Limits()
    config = uvicorn.Config(
        create_app(aliases, limits),
        host,
        port,
        log_config=None,
        access_log=False,  # who asked for what, when, is nobody's business; /metrics counts
        timeout_graceful_shutdown=round(limits.seconds),
    )
    uvicorn.Server(config).run()
