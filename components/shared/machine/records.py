"""Records that a step of a local run sends to its view: JSON text sequences (RFC 7464), one a line, on stderr."""

import json
import os
import sys
from typing import Any

VARIABLE = "COLORIZE_RECORDS"
"""Environment variable that a local run sets for its steps."""

_MARK = "\x1e"


def wanted() -> bool:
    """Returns True in a step of a local run."""
    return bool(os.environ.get(VARIABLE))


def send(**values: Any) -> None:
    """Sends a record, if a view wants records."""
    if wanted():
        sys.stderr.write(f"{_MARK}{json.dumps(values)}\n")
        sys.stderr.flush()


def read(line: str) -> dict[str, Any] | None:
    """Returns the record of a line; None for any other line."""
    _, mark, text = line.partition(_MARK)
    try:
        found = json.loads(text) if mark else None
    except ValueError:  # two processes wrote at once
        return None
    return found if isinstance(found, dict) else None
