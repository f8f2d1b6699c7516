"""Process of the server, for `colorize web`."""

import logging

import uvicorn

from serving.app import create_app
from serving.served_models import ServedModels
from serving.worker import Limits


def serve(host: str, port: int, models: ServedModels) -> None:
    """Serves until SIGINT or SIGTERM, then answers the requests that have begun.

    Args:
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        models: models to serve.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("serving", "uvicorn.error"):  # uvicorn logs all but its access log under this name
        logging.getLogger(name).setLevel(logging.INFO)
    limits = Limits()
    config = uvicorn.Config(
        create_app(models, limits),
        host,
        port,
        log_config=None,
        access_log=False,  # requests stay private; /metrics counts them
        timeout_graceful_shutdown=round(limits.seconds),
    )
    uvicorn.Server(config).run()
