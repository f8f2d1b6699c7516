"""Errors of the Kubernetes and Kubeflow API clients, as text."""

import json
from typing import Protocol


class ApiError(Protocol):
    """Describes `ApiException`, which each generated OpenAPI client defines anew."""

    status: int
    body: bytes | str | None
    reason: str


def api_error_message(error: ApiError) -> str:
    """Formats a Kubernetes or Kubeflow API error as one line: its status and the server's message, shortened."""
    try:
        message = json.loads(error.body or b"")["message"]
    except (TypeError, ValueError, KeyError):
        message = error.reason
    return f"{error.status}: {' '.join(str(message).split())[:300].rstrip('.')}"
