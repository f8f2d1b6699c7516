"""The colorizer as an MLflow pyfunc model: colors a table of photographs.

MLflow stores this file (models from code, nothing is pickled) beside a copy of the `model` package and the generator
folder, and runs it where the model is loaded. It must import nothing else of this repository.
"""

import os
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd


class ColorizerModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Colors column `image`: files (JPEG, PNG, TIFF and others) as bytes, of any size, in the same format."""

    def load_context(self, context: Any) -> None:
        """Loads the generator, on a GPU if there is one."""
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before PyTorch: else threads that wait take processors
        import torch

        from model.data.xmp import Mark
        from model.inference.colorizer import Colorizer
        from model.inference.saved import load_generator

        device = "cuda" if torch.cuda.is_available() else "cpu"
        generator, info = load_generator(Path(context.artifacts["generator"]))
        self.colorizer = Colorizer(generator, info.size, device)
        self.mark = Mark("colorize", f"colorizer, weights {info.weights_sha256[:12]}")

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Colors each photograph.

        Args:
            context: MLflow's.
            model_input: column `image`.
            params: `seed` chooses among the possible colorings; `label` names the subject of the photographs, for a
                model that was trained with labels.

        Raises:
            model.utils.errors.UserError: the model does not know the label.
            model.data.images.ImageError: a file that cannot be decoded.
        """
        from model.data.encoding import encode
        from model.data.images import decode

        seed, label = int((params or {}).get("seed", 0)), (params or {}).get("label") or None
        colored = []
        for content in model_input["image"]:
            photograph = decode(content)
            picture = self.colorizer.colorize(photograph.pixels, seed, label=label)[0]
            colored.append(encode(picture, photograph, self.mark))
        return pd.DataFrame({"image": colored}, index=model_input.index)


mlflow.models.set_model(ColorizerModel())
