"""The compiled pipeline YAML that is in the repository: written, and checked to be current."""

import tempfile
from pathlib import Path

from kfp import compiler

from model.errors import UserError
from pipeline.cluster import load_cluster
from pipeline.graph import build

COMPILED = Path(__file__).with_name("retraining.yaml")


def write(path: Path = COMPILED, cluster: Path | None = None) -> None:
    """Compiles the graph to YAML: the pipeline, then its Kubernetes settings. The same bytes each time.

    Args:
        path: Of the YAML.
        cluster: File that overrides some of cluster.yaml.

    Raises:
        UserError: that file is not what it should be.
    """
    compiler.Compiler().compile(build(load_cluster(cluster)), str(path))


def check(cluster: Path | None = None) -> None:
    """Raises UserError when the YAML in the repository is not what the graph compiles to."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / COMPILED.name
        write(fresh, cluster)
        if not COMPILED.exists() or fresh.read_bytes() != COMPILED.read_bytes():
            command = f"colorize compile --cluster {cluster}" if cluster else "colorize compile"
            raise UserError(f"{COMPILED} is not what the graph compiles to; run `{command}` and commit it.")
