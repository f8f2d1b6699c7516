"""The workspace: the folder of MLflow's files, caches, checkpoints and logs on this machine."""

import os
from pathlib import Path

from model.utils.errors import UserError

VARIABLE = "COLORIZE_WORKSPACE"
SHARD_CACHE = "COLORIZE_SHARD_CACHE_BYTES"
"""Environment variable of the bytes that streamed shards may take there. No argument: it changes no result."""


def workspace() -> Path:
    """Returns the folder that COLORIZE_WORKSPACE names, or workspace/ below the current folder; absolute.

    Raises:
        UserError: its path is not UTF-8, which neither MLflow nor Kubeflow Pipelines can name.
    """
    folder = Path(os.path.realpath(os.environ.get(VARIABLE, "workspace")))
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(folder).decode("utf-8", "backslashreplace")
        raise UserError(f"{shown}: its path is not UTF-8; set {VARIABLE} to a folder whose path is.") from None
    return folder
