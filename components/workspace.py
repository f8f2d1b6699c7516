"""The folder for what runs leave on this machine: MLflow's files, caches, checkpoints, logs."""

import os
from pathlib import Path

VARIABLE = "COLORIZE_WORKSPACE"


def workspace() -> Path:
    """What COLORIZE_WORKSPACE names, or workspace/ below the current folder; absolute."""
    return Path(os.environ.get(VARIABLE, "workspace")).resolve()
