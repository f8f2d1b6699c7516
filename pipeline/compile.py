"""Writes and checks the generated files: retraining.yaml and dvc.yaml from the graph, and two pages of reference."""

import hashlib
import tempfile
from pathlib import Path

from kfp import compiler
from kfp.compiler import KubernetesManifestOptions

from model.utils.errors import UserError
from model.utils.files import write_aside
from pipeline import ROOT, dvcfile, graph
from pipeline.cli import reference
from pipeline.cluster.settings import load_cluster
from pipeline.steps import steps, table

COMPILED = Path(__file__).with_name("retraining.yaml")
DVC = ROOT / "dvc.yaml"
TABLE = ROOT / "docs" / "reference" / "steps.md"

_TABLE = """\
# Steps

The steps of the retraining graph ([`pipeline/graph.py`](../../pipeline/graph.py)), in order. `colorize compile` writes
this page. Inputs and outputs are folders. A step is reused when its inputs, its parameters and the code behind it are
the same. CPU and memory are request and limit of its pod, by the defaults of
[`settings.yaml`](../../pipeline/cluster/settings.yaml).

"""


def write(cluster: Path | None = None) -> list[Path]:
    """Writes all files, the same bytes each time, and returns their paths.

    Args:
        cluster: file that overrides some of settings.yaml, for retraining.yaml.

    Raises:
        UserError: that file is not what it should be.
    """
    files = _contents(cluster)
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, content.encode())
    return list(files)


def check(cluster: Path | None = None) -> list[Path]:
    """Returns the paths of all files.

    Raises:
        UserError: one is not what the graph compiles to.
    """
    files = _contents(cluster)
    for path, content in files.items():
        _require_current(path, content, cluster)
    return list(files)


def write_manifests(path: Path, namespace: str, cluster: Path | None = None) -> None:
    """Writes the graph as custom resources of Kubeflow: a Pipeline, and a PipelineVersion named by its content.

    Raises:
        UserError: the path does not end in .yaml; or a file in the repository is not current.
    """
    if path.suffix != ".yaml":
        raise UserError(f"--out {path}: write a path that ends in .yaml.")
    name = graph.retraining.name
    options = KubernetesManifestOptions(
        pipeline_name=name,
        pipeline_version_name=f"{name}-{digest(current(cluster))}",
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


def current(cluster: Path | None = None) -> str:
    """Returns the content of retraining.yaml in the repository.

    Raises:
        UserError: it is not what the graph compiles to.
    """
    content = to_yaml(cluster)
    _require_current(COMPILED, content, cluster)
    return content


def digest(content: str) -> str:
    """Returns the first 16 hex digits of a content's SHA-256."""
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def to_yaml(cluster: Path | None = None) -> str:
    """Returns the compiled graph: the pipeline, then its Kubernetes settings.

    Raises:
        UserError: the file of cluster settings is not what it should be.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / COMPILED.name
        compiler.Compiler().compile(graph.build(load_cluster(cluster)), str(path))
        return path.read_text(encoding="utf-8")


def _require_current(path: Path, content: str, cluster: Path | None) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != content:
        command = f"colorize compile --cluster {cluster}" if cluster else "colorize compile"
        raise UserError(f"{path} is not what the graph compiles to; run `{command}` and commit it.")


def _contents(cluster: Path | None) -> dict[Path, str]:
    return {
        COMPILED: to_yaml(cluster),
        DVC: dvcfile.text(),
        TABLE: _TABLE + _table(),
        reference.PAGE: reference.text(),
    }


def _table() -> str:
    """Returns the table of steps as Markdown, and below it what each does and what its folders hold."""
    titles, *lines = table()
    parts = ["".join(f"| {' | '.join(line)} |\n" for line in (titles, ["---"] * len(titles), *lines))]
    for step in steps():
        held = "".join(f"\n- `{name}`: {content}" for name, content in step.contents.items())
        parts.append(f"## {step.name}\n\n{step.description}\n" + (f"{held}\n" if held else ""))
    return "\n".join(parts)
