"""The workspace: the folder of MLflow's files, caches, checkpoints and logs on this machine."""

import os
from pathlib import Path

VARIABLE = "COLORIZE_WORKSPACE"
SHARD_CACHE = "COLORIZE_SHARD_CACHE_BYTES"
"""Environment variable of the bytes that streamed shards may take there. No argument: it changes no result."""


def workspace() -> Path:
    """Returns the folder that COLORIZE_WORKSPACE names, or workspace/ below the current folder; absolute."""
    return Path(os.environ.get(VARIABLE, "workspace")).resolve()
