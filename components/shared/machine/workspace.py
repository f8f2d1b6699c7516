"""The folder for what runs leave on this machine: MLflow's files, caches, checkpoints, logs."""

import os
from pathlib import Path

VARIABLE = "COLORIZE_WORKSPACE"
SHARD_CACHE = "COLORIZE_SHARD_CACHE_BYTES"
"""How much of the disk shards that are streamed may take there. No argument: it changes no result."""


def workspace() -> Path:
    """What COLORIZE_WORKSPACE names, or workspace/ below the current folder; absolute."""
    return Path(os.environ.get(VARIABLE, "workspace")).resolve()
