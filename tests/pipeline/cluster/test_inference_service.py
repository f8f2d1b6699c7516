"""The InferenceService of a version: what the check accepts, and where its files lie."""

from pathlib import Path

import mlflow
import pytest
from typer.main import get_command

from components.images.names import image
from components.shared.mlflow import registry
from k8s.check.__main__ import check
from k8s.check.manifests import ROOT, render
from model.utils.errors import UserError
from pipeline.cli.main import app
from pipeline.inference_service import manifest, storage_uri

VERSION = registry.Version(7, {"weights_sha256": "ab" * 32}, None, 0)


def test_the_check_accepts_it_beside_the_manifests():
    manifests = render(ROOT / "k8s" / "overlays" / "production")
    web = next(pod for pod in manifests.pods() if pod.owner["metadata"]["name"] == "colorizer-web").spec["containers"][
        0
    ]
    server = image("colorize-python-serving")
    made = manifest(VERSION, "s3://colorizer-mlflow/1/models/m-1/artifacts/artifacts/generator", server)
    assert made["spec"]["predictor"]["containers"][0]["image"] == web["image"]
    assert made["metadata"]["annotations"]["colorizer/version"] == "7"
    manifests.objects.append(made)
    assert [str(each) for each in check(manifests)] == []

    made["spec"]["predictor"]["containers"][0]["imagePulPolicy"] = "Always"
    assert any("imagePulPolicy" in str(each) for each in check(manifests))


def test_its_command_is_one_that_colorize_has():
    (container,) = manifest(VERSION, "s3://bucket/generator", "image:1")["spec"]["predictor"]["containers"]
    program, name, *arguments = container["command"]
    assert program == "colorize"
    web = get_command(app).commands[name].make_context(name, arguments)  # type: ignore[attr-defined]
    assert web.params["model"] == Path("/mnt/models")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("mlflow-artifacts:/1/models/m-1/artifacts", "s3://bucket/of/1/models/m-1/artifacts/artifacts/generator"),
        ("s3://other/models/m-1", "s3://other/models/m-1/artifacts/generator"),
        ("gs://other/models/m-1", None),
    ],
)
def test_where_the_files_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, expected: str | None):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    client = mlflow.MlflowClient()
    client.create_registered_model(registry.MODEL)
    client.create_model_version(registry.MODEL, source)
    if expected:
        assert storage_uri(registry.get(1), "s3://bucket/of/") == expected
    else:
        with pytest.raises(UserError, match="keep artifacts in S3"):
            storage_uri(registry.get(1), "s3://bucket")
