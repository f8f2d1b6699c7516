"""Logging of a generator as a model in MLflow: with code, requirements, signature and example, without pickle."""

import io
import logging
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import model
from components.shared.mlflow import connection, registry, runs

_SCRIPT = Path(__file__).with_name("pyfunc_model.py")
_REQUIRED = (
    "defusedxml", "mlflow", "numpy", "pandas", "pillow", "pillow-heif", "pydantic", "pyyaml", "safetensors", "timm",
    "torch",
)  # fmt: skip
"""Distributions that pyfunc_model.py imports, directly or through `model`; pinned to the installed versions."""


def log_model(generator: Path, run: runs.Run, tags: Mapping[str, str]) -> str:
    """Logs a generator folder as a model of `run`.

    It does what mlflow.pyfunc.log_model does, except that it does not try the example on the loaded model: that imports
    PyTorch and triples the time. The model is READY only when all its files are uploaded.

    Returns:
        The id of the model, "m-...".
    """
    client = connection.connect()
    import mlflow
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    # MLflow warns that it cannot pin pip, which this environment may lack.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    experiment = client.get_run(run.id).info.experiment_id
    logged = client.create_logged_model(experiment, name=registry.MODEL, source_run_id=run.id, tags=dict(tags))
    try:
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / Path(registry.GENERATOR).name
            weights.mkdir()
            for name in ("generator.json", "generator.safetensors"):  # without training's history and samples
                shutil.copyfile(generator / name, weights / name)
            description = Model(
                run_id=run.id,
                model_id=logged.model_id,
                model_uuid=logged.model_id,
                artifact_path=logged.artifact_location,
            )
            mlflow.pyfunc.save_model(
                Path(folder) / "model",
                python_model=_SCRIPT,
                artifacts={"generator": str(weights)},
                code_paths=[str(Path(model.__file__).parent)],
                pip_requirements=[_pinned(name) for name in _REQUIRED],
                signature=_signature(),
                input_example=_example(),
                mlflow_model=description,
            )
            client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
    except BaseException:
        client.finalize_logged_model(logged.model_id, "FAILED")
        raise
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run.id, [LoggedModelOutput(logged.model_id, step=0)])
    return str(logged.model_id)


def _pinned(name: str) -> str:
    """Returns a requirement of the version that is installed here, of mlflow or of its smaller half, mlflow-skinny."""
    installed = version("mlflow-skinny" if name == "mlflow" else name)
    return f"{name}=={installed.partition('+')[0]}"


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    image = Schema([ColSpec("binary", "image")])
    params = ParamSchema([ParamSpec("seed", "long", 0), ParamSpec("label", "string", "")])
    return ModelSignature(inputs=image, outputs=image, params=params)


def _example() -> tuple[Any, dict[str, int]]:
    """Returns a table with one small picture, a gray gradient, and the parameters."""
    import pandas as pd
    from PIL import Image

    content = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).save(content, "PNG")
    return pd.DataFrame({"image": [content.getvalue()]}), {"seed": 0}
