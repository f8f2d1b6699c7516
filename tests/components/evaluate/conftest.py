"""Fixtures: photographs, generators and one evaluation, made once for all tests of the evaluate step."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from components.evaluate.step import evaluate
from model.color import encode_lab, srgb_to_lab
from model.data.format import Row
from model.data.images import decode
from model.data.writer import write_dataset
from tests.support.made import HOSTILE, SIZE, TEST, TRAIN, config, make_generator


@pytest.fixture(scope="package")
def dataset(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes a dataset of small real photographs; the first of the test split has a hostile name."""
    labs: dict[str, np.ndarray[Any, np.dtype[np.uint8]]] = {}
    rows = []
    for path in sorted(photos.rglob("*.jpg"))[:: 412 // (TRAIN + TEST)][: TRAIN + TEST]:
        rgb = torch.tensor(decode(path).rgb).permute(2, 0, 1)[None].float() / 255
        lab = encode_lab(srgb_to_lab(F.interpolate(rgb, (SIZE, SIZE), mode="area")))[0].numpy()
        sha256 = hashlib.sha256(lab.tobytes()).hexdigest()
        test = len(labs) < TEST
        name = path.relative_to(photos).as_posix() if labs else HOSTILE
        labs[sha256] = lab
        rows.append(Row(name, sha256, SIZE, SIZE, "test" if test else "train", "kept", ""))
    folder = tmp_path_factory.mktemp("dataset")
    write_dataset(folder, rows, labs.__getitem__, size=SIZE, data_version="0123456789abcdef0123456789abcdef")
    return folder


@pytest.fixture(scope="package")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "challenger": make_generator(folder / "challenger", 1),
        "champion": make_generator(folder / "champion", 2),
        "deterministic": make_generator(folder / "deterministic", 3, noise="none"),
        "dropout": make_generator(folder / "dropout", 4, noise="dropout"),
        "broken": make_generator(folder / "broken", 5, broken=True),
    }


@pytest.fixture(scope="package")
def evaluated(
    dataset: Path, models: dict[str, Path], migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    """Scores a challenger against a champion; returns the result and the output folder."""
    folder = tmp_path_factory.mktemp("evaluated")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        patch.chdir(folder)
        (folder / "workspace").mkdir()
        shutil.copy(migrated, folder / "workspace" / "mlflow.db")
        result = evaluate(dataset, models["challenger"], folder / "out", config(), champion=str(models["champion"]))
    return result, folder / "out"
