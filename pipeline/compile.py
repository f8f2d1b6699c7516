"""The compiled pipeline YAML that is in the repository: written, and checked to be current."""

import hashlib
import tempfile
from pathlib import Path

from kfp import compiler
from kfp.compiler import KubernetesManifestOptions

from model.utils.errors import UserError
from pipeline import graph, sweep
from pipeline.cluster.settings import load_cluster
from pipeline.graph import retraining

COMPILED = Path(__file__).with_name("retraining.yaml")
SWEEP = Path(__file__).with_name("sweep.yaml")


def write(path: Path = COMPILED, cluster: Path | None = None, of: Path = COMPILED) -> None:
    """Compiles a graph to YAML: the pipeline, then its Kubernetes settings. The same bytes each time.

    Args:
        path: Of the YAML.
        cluster: File that overrides some of cluster.yaml.
        of: Which graph, by its place in the repository.

    Raises:
        UserError: that file is not what it should be.
    """
    build = sweep.build if of == SWEEP else graph.build
    compiler.Compiler().compile(build(load_cluster(cluster)), str(path))


def write_manifests(path: Path, namespace: str, cluster: Path | None = None) -> None:
    """The graph as custom resources of Kubeflow Pipelines: a Pipeline, and a PipelineVersion named by its content.

    Raises:
        UserError: the path does not end in .yaml; or the YAML in the repository is not current.
    """
    if path.suffix != ".yaml":
        raise UserError(f"--out {path}: write a path that ends in .yaml.")
    options = KubernetesManifestOptions(
        pipeline_name=retraining.name,
        pipeline_version_name=f"{retraining.name}-{digest(cluster)}",
        namespace=namespace,
        include_pipeline_manifest=True,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(
        graph.build(load_cluster(cluster)),
        str(path),
        kubernetes_manifest_format=True,
        kubernetes_manifest_options=options,
    )


def digest(cluster: Path | None = None, of: Path | None = None) -> str:
    """SHA-256 (first 16 hex digits) of a YAML in the repository, `COMPILED` when none is named.

    Raises:
        UserError: it is not current.
    """
    of = of or COMPILED
    check(cluster, of)
    return hashlib.sha256(of.read_bytes()).hexdigest()[:16]


def check(cluster: Path | None = None, of: Path | None = None) -> None:
    """Raises UserError when that YAML in the repository is not what the graph compiles to."""
    of = of or COMPILED
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / of.name
        write(fresh, cluster, of)
        if not of.exists() or fresh.read_bytes() != of.read_bytes():
            command = f"colorize compile --cluster {cluster}" if cluster else "colorize compile"
            raise UserError(f"{of} is not what the graph compiles to; run `{command}` and commit it.")
