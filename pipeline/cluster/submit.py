"""One run on a cluster: the pipeline version, its arguments, and the request."""

import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml
from kfp_server_api import V2beta1PipelineVersionReference, V2beta1Run, V2beta1RuntimeConfig

from components.images.names import CPU_IMAGE, GPU_IMAGE
from components.shared.machine.code import git_commit
from model.utils.errors import UserError
from pipeline import ROOT
from pipeline import compile as compiled
from pipeline.arguments import arguments
from pipeline.cluster.client import Client
from pipeline.graph import retraining
from pipeline.variants import Variants

_CACHED = re.compile(r"^( +cachingOptions:)\n +enableCache: true$", re.MULTILINE)


@dataclass(frozen=True)
class Place:
    """Holds the places on a cluster that runs read and write.

    Attributes:
        photos: s3://bucket/prefix of a DVC remote, or a folder mounted into the steps.
        checkpoints: s3://bucket/prefix, or a folder mounted into the steps.
        experiment: Kubeflow experiment.
        service_account: Service account of the step pods.
    """

    photos: str
    checkpoints: str
    experiment: str
    service_account: str


@dataclass(frozen=True)
class Package:
    """Holds the compiled pipeline: its content, its names, and a digest of its content."""

    content: str
    pipeline: str
    version: str
    digest: str

    @classmethod
    def current(cls, cluster: Path | None = None, cached: bool = True) -> Self:
        """Returns the YAML in the repository.

        Args:
            cluster: File that overrides some of settings.yaml, as it was compiled with.
            cached: Whether Kubeflow's cache may be used. Kubeflow's client has an option for this, but it ignores it
                for a pipeline version and for all tasks of nested graphs.

        Raises:
            UserError: it is not what the graph compiles to.
        """
        content = compiled.current(cluster)
        if not cached:
            content = _CACHED.sub(r"\1 {}", content)
        digest = compiled.digest(content)
        commit, _, dirty = git_commit().partition("-")
        version = "-".join(part for part in (commit[:12], dirty, digest) if part)
        return cls(content, retraining.name, version, digest)

    def upload(self, client: Client) -> tuple[str, str]:
        """Uploads the pipeline version if it is missing; returns the ids of pipeline and version."""
        pipeline_id = client.pipeline(self.pipeline)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / compiled.COMPILED.name
            file.write_text(self.content, encoding="utf-8")
            return pipeline_id, client.version(pipeline_id, self.version, self.digest, file)


def cluster_arguments(variants: Variants, place: Place, data_version: str, again: bool = False) -> dict[str, Any]:
    """Returns the arguments of a run on a cluster; it ends at once when nothing is new, unless `again` is True."""
    return arguments(
        variants,
        place.photos,
        data_version,
        place.checkpoints,
        f"{CPU_IMAGE} {GPU_IMAGE}",
        only_if_changed=not again,
    )


def recorded_version(root: Path = ROOT) -> str:
    """Returns the data version of data.dvc without reading data/.

    Raises:
        UserError: the file is missing or has no version.
    """
    tracked = root / "data.dvc"
    try:
        return str(yaml.safe_load(tracked.read_text(encoding="utf-8"))["outs"][0]["md5"])
    except (OSError, yaml.YAMLError, LookupError, TypeError):
        raise UserError(f"{tracked} does not say which version of the data to use; give one with --data.") from None


def request(
    package: Package, arguments: dict[str, Any], place: Place, namespace: str, pipeline_root: str | None
) -> dict[str, Any]:
    """Returns the request of `submit` in readable form."""
    root = {"pipeline_root": pipeline_root} if pipeline_root else {}
    return {
        "namespace": namespace,
        "pipeline": package.pipeline,
        "version": package.version,
        "experiment": place.experiment,
        "run": {
            "display_name": run_name(arguments),
            "service_account": place.service_account,
            "runtime_config": {"parameters": arguments, **root},
        },
    }


def submit(
    client: Client, package: Package, arguments: dict[str, Any], place: Place, pipeline_root: str | None = None
) -> str:
    """Starts a run and returns its id.

    Args:
        client: of the cluster.
        package: the compiled pipeline.
        arguments: of the graph.
        place: where the run reads and writes.
        pipeline_root: where Kubeflow keeps its artifacts; None: where the cluster says.

    Raises:
        ApiException: the server refuses.
    """
    pipeline_id, version_id = package.upload(client)
    return client.create_run(
        V2beta1Run(
            experiment_id=client.experiment(place.experiment),
            display_name=run_name(arguments),
            pipeline_version_reference=V2beta1PipelineVersionReference(
                pipeline_id=pipeline_id, pipeline_version_id=version_id
            ),
            runtime_config=V2beta1RuntimeConfig(parameters=arguments, pipeline_root=pipeline_root),
            service_account=place.service_account,
        )
    )


def run_name(arguments: dict[str, Any]) -> str:
    """Returns a name for a run that begins now."""
    return f"{arguments['recipe']} {time.strftime('%Y-%m-%d %H:%M:%S')}"
