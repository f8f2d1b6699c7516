"""Tests of the model's independence: model/ imports without the rest of the project and without its platforms."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import model

PROGRAM = """
import importlib, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("kfp", "mlflow", "dvc", "boto3", "botocore", "kubernetes", "components"):
            raise ImportError(f"model must not import {name}")

sys.meta_path.insert(0, Blocked())
import model
print(model.__file__)
for module in pkgutil.walk_packages(model.__path__, "model."):
    importlib.import_module(module.name)
    print(module.name)
"""


def test_model_alone_imports_without_the_platforms(tmp_path: Path) -> None:
    source = Path(model.__file__).parent
    shutil.copytree(source, tmp_path / "model", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{PROGRAM}"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found, *modules = result.stdout.split()
    assert Path(found).is_relative_to(tmp_path)
    assert len(modules) == len(list(source.rglob("*.py"))) - 1


def test_decoding_images_imports_no_torch() -> None:
    program = "import sys, model.data.images; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", program], cwd=Path(model.__file__).parents[1], check=False).returncode
        == 0
    )


def test_no_file_of_model_is_empty() -> None:
    """MLflow logs these files with each model, and its client sends an empty one in chunks, which S3 refuses."""
    assert not [path for path in Path(model.__file__).parent.rglob("*.py") if not path.stat().st_size]
