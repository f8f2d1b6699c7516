"""First seconds of a pod: a policy engine may refuse what a new pod asks for, and a server may be starting, too."""

import ssl
import sys
import time
import urllib.error
import urllib.request
from functools import cache
from http.client import HTTPException
from urllib.parse import urlsplit

from components.shared.machine.pipeline_run import on_kubeflow

PATIENCE = 60
"""Seconds that a new pod waits for a server."""

_COMING_UP = (502, 503, 504)  # what a proxy says in place of a server


@cache
def await_in_new_pod(address: str, name: str) -> None:
    """Waits as `await_server` at the first contact, in a pod that Kubeflow has just started; else does nothing.

    Args:
        address: as there.
        name: as there.
    """
    if on_kubeflow():
        await_server(address, name)


def await_server(address: str, name: str) -> None:
    """Waits until a server answers, whatever it answers; returns after `PATIENCE` seconds if it does not.

    The caller then asks the server for what it needs, and its error says why the server cannot be reached.

    Args:
        address: http:// or https://.
        name: of the server, for the log.
    """
    deadline = time.monotonic() + PATIENCE
    said = False
    while not answers(address) and time.monotonic() < deadline:
        if not said:
            parts = urlsplit(address)
            shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
            print(f"{name} at {shown} does not answer yet; this waits for up to {PATIENCE} s.", file=sys.stderr)
            said = True
        time.sleep(1)


def answers(address: str, timeout: float = 5) -> bool:
    """Tells whether a server answers, be it with a refusal.

    Args:
        address: http:// or https://.
        timeout: seconds.
    """
    try:
        _OPENER.open(urllib.request.Request(address, method="HEAD"), timeout=timeout).close()
    except urllib.error.HTTPError as answer:
        return answer.code not in _COMING_UP
    except OSError as error:
        return isinstance(getattr(error, "reason", error), ssl.SSLError)  # it answers, but not to this pod
    except (HTTPException, ValueError):  # of another kind of server; the address is none
        return True
    return True


class _Stay(urllib.request.HTTPRedirectHandler):
    """Takes a redirection for an answer: what it leads to may be out of reach."""

    def redirect_request(self, *_: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay)
