"""The webhook: a JSON message to COLORIZE_WEBHOOK_URL, a secret address that is never printed."""

import ipaddress
import logging
import signal
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from model.utils.signals import handled

VARIABLE = "COLORIZE_WEBHOOK_URL"
_TRY_AGAIN = (429, *range(500, 600))


class _TimeLimitError(Exception):
    """Ends a delivery; no OSError, for urllib3 would try again after one."""


def deliver(url: str, message: Mapping[str, Any], timeout: float = 10, backoff: float = 2, limit: float = 60) -> str:
    """Posts a message; tries twice more after a connection error, status 429 or a status of 500 and above.

    Args:
        url: https, or http to this machine or inside the cluster. Redirects are not followed: they may lead elsewhere.
        message: of JSON's types.
        timeout: seconds for a connection, and for each silence of the server.
        backoff: seconds before the last attempt.
        limit: seconds in all, for a server that is slow without being silent: an alarm, which needs the main thread.

    Returns:
        The reason why it was not delivered, without the address; empty when it was delivered.
    """
    if not _is_private_enough(url):
        return f"{VARIABLE} must be https; http is for this machine and inside the cluster"
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings and debug messages hold the address
    retries = Retry(
        total=2, allowed_methods=None, status_forcelist=_TRY_AGAIN, raise_on_status=False, backoff_factor=backoff / 2
    )
    retries.respect_retry_after_header = False  # a server may not hold up the end of a run

    def stop(*_: object) -> None:
        raise _TimeLimitError

    with handled({signal.SIGALRM: stop}), requests.Session() as session:
        session.mount(url, HTTPAdapter(max_retries=retries))
        timer = signal.setitimer(signal.ITIMER_REAL, limit)
        try:
            # Streamed: what the server has to say beyond its status is not read.
            with session.post(url, json=message, timeout=timeout, allow_redirects=False, stream=True) as answer:
                return "" if 200 <= answer.status_code < 300 else f"status {answer.status_code}"
        except _TimeLimitError:
            return f"no end after {limit:g} s"
        except Exception as error:  # its text has the address
            cause = getattr(error.args[0], "reason", error) if error.args else error
            return type(cause).__name__
        finally:
            signal.setitimer(signal.ITIMER_REAL, *timer)


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
