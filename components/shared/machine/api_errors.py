"""What the clients that OpenAPI's generator writes (Kubernetes', Kubeflow's) raise when a server says no."""

import json
from typing import Protocol


class Answer(Protocol):
    """`ApiException` of each of them."""

    status: int
    body: bytes | str | None
    reason: str


def said(error: Answer) -> str:
    """The status and the server's own words, short: its JSON has a message."""
    try:
        words = json.loads(error.body or b"")["message"]
    except (TypeError, ValueError, KeyError):
        words = error.reason
    return f"{error.status}: {' '.join(str(words).split())[:300].rstrip('.')}"
