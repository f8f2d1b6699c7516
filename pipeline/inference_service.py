"""An InferenceService for the promoted version: `python -m pipeline.inference_service | kubectl apply -f -`.

KServe's own MLflow runtime loads pickles and knows no models:/ addresses, so the predictor is this project's server.
KServe copies the version's files from S3 to /mnt/models before it starts; MLflow is not asked again, and the version
stays the one that is named here.
"""

from typing import Annotated, Any

import typer
import yaml

from components.images.names import image
from components.shared.mlflow import connection, registry
from components.shared.step import step
from model.utils.errors import UserError

_PROXY = "mlflow-artifacts:/"
"""How MLflow addresses what lies behind --serve-artifacts."""


def manifest(version: registry.Version, storage: str, server: str) -> dict[str, Any]:
    """The InferenceService that serves one version.

    Args:
        storage: s3://... of the version's generator folder.
        server: image of serving, with its tag or digest.
    """
    probe = {"periodSeconds": 10, "timeoutSeconds": 5}
    container = {
        "name": "kserve-container",
        "image": server,
        "command": ["colorize", "web", "--host", "0.0.0.0", "--port", "8080", "--model", "/mnt/models"],
        "env": [
            {"name": "STORAGE_URI", "value": storage},
            {"name": "HOME", "value": "/tmp"},
            {"name": "COLORIZE_WORKSPACE", "value": "/tmp/workspace"},
        ],
        "ports": [{"name": "http1", "containerPort": 8080, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, **probe},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "initialDelaySeconds": 30, **probe},
        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "4", "memory": "4Gi"}},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": "colorizer",
            "namespace": "colorizer",
            "annotations": {
                "serving.kserve.io/deploymentMode": "Standard",
                "colorizer/version": str(version.number),
                "colorizer/weights-sha256": version.weights_sha256,
            },
        },
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "maxReplicas": 4,
                "serviceAccountName": "web",
                "containers": [container],
                "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "4Gi"}}],
            }
        },
    }


@connection.explained()
def storage_uri(version: registry.Version, destination: str) -> str:
    """Where a version's generator folder lies in S3.

    Args:
        destination: MLflow's --artifacts-destination, which the server does not tell its clients.

    Raises:
        UserError: MLflow keeps the version elsewhere than in S3.
    """
    source = connection.connect().get_model_version_download_uri(registry.MODEL, str(version.number))
    if source.startswith(_PROXY):
        source = f"{destination.rstrip('/')}/{source.removeprefix(_PROXY).lstrip('/')}"
    if not source.startswith("s3://"):
        raise UserError(f"{version.uri} lies at {source}, from where KServe cannot copy it; keep artifacts in S3.")
    return f"{source.rstrip('/')}/{registry.GENERATOR}"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    model: Annotated[str, typer.Option(help="Which version.")] = "models:/colorizer@champion",
    artifacts: Annotated[str, typer.Option(help="MLflow's --artifacts-destination.")] = "s3://colorizer-mlflow",
) -> None:
    with step("inference_service"):
        version = registry.resolve(model)
        made = manifest(version, storage_uri(version, artifacts), image("colorize-python-serving"))
        print(yaml.safe_dump(made, sort_keys=False), end="")


if __name__ == "__main__":
    app()
