"""The compiled pipeline YAML that is in the repository: written, and checked to be current."""

import tempfile
from pathlib import Path

from kfp import compiler

from model.errors import UserError
from pipeline.graph import retraining

COMPILED = Path(__file__).with_name("retraining.yaml")


def write(path: Path = COMPILED) -> None:
    """Compiles the graph to YAML: the pipeline, then its Kubernetes settings. The same bytes each time."""
    compiler.Compiler().compile(retraining, str(path))


def check() -> None:
    """Raises UserError when the YAML in the repository is not what the graph compiles to."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / COMPILED.name
        write(fresh)
        if not COMPILED.exists() or fresh.read_bytes() != COMPILED.read_bytes():
            raise UserError(f"{COMPILED} is not what the graph compiles to; run `colorize compile` and commit it.")
