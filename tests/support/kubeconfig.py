"""Writes kubectl's configuration for a test."""

from pathlib import Path

import yaml


def configure_kubectl(file: Path, server: str) -> None:
    """Writes kubectl's configuration for a server."""
    configuration = {
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "current-context": "here",
    }
    file.write_text(yaml.safe_dump(configuration))
