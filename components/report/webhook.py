"""A message to people: JSON to the address in COLORIZE_WEBHOOK_URL, which is a secret and never printed."""

import ipaddress
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests

VARIABLE = "COLORIZE_WEBHOOK_URL"


def deliver(
    url: str,
    message: Mapping[str, Any],
    patience: float = 10,
    pauses: Sequence[float] = (0, 1, 4),
    limit: float = 60,
) -> str:
    """Posts a message; a few attempts, in which only what may pass is tried again.

    Args:
        url: https, or http to this machine or inside the cluster. Redirects are not followed: they may lead elsewhere.
        message: Of JSON's types.
        patience: Seconds for a connection, and for each silence of the server.
        pauses: Seconds before each attempt.
        limit: Seconds in all, for a server that is slow without being silent.

    Returns:
        Empty when it was delivered, else what stood in the way, without the address.
    """
    if not _is_private_enough(url):
        return f"{VARIABLE} must be https; http is for this machine and inside the cluster"
    trouble = [f"no end after {limit:g} s"]

    def work() -> None:
        trouble[:] = [_attempts(url, message, patience, pauses)]

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(limit)
    return trouble[0]


def _attempts(url: str, message: Mapping[str, Any], patience: float, pauses: Sequence[float]) -> str:
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # below that it tells whom it calls
    trouble = ""
    for pause in pauses:
        time.sleep(pause)
        try:
            # Streamed: what the server has to say beyond its status is not read.
            with requests.post(url, json=message, timeout=patience, allow_redirects=False, stream=True) as answer:
                status = answer.status_code
        except Exception as error:  # its text has the address
            trouble = type(error).__name__
            continue
        if 200 <= status < 300:
            return ""
        trouble = f"status {status}"
        if status < 500 and status != 429:
            break
    return trouble


def _is_private_enough(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme != "http":
        return parts.scheme == "https" and bool(host)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name; one without a dot is a Service of this namespace
        return bool(host) and ("." not in host or host.endswith((".svc", ".cluster.local")))
