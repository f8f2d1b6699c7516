"""A generator folder as an ONNX file."""

import importlib.util
from pathlib import Path

from model.utils.errors import UserError
from model.utils.files import write_aside


def require_onnx() -> None:
    """
    Raises:
        UserError: the packages that PyTorch exports with are missing.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"ONNX export needs {' and '.join(missing)}, missing here; install with "
            f"`.venv/bin/uv pip install --python .venv/bin/python {' '.join(missing)}`."
        )


def write_onnx(folder: Path) -> None:
    """Writes generator.onnx beside the weights of a generator folder, for pictures of the size it was trained at.

    Raises:
        UserError: the generator has labels, or takes no noise vector.
    """
    import torch

    from model.inference.onnx import to_onnx
    from model.inference.saved import load_generator

    generator, info = load_generator(folder)
    config = generator.config
    if config.labels or config.noise != "gaussian":
        raise UserError(
            f"{folder}: its generator has labels or noise {config.noise}; ONNX export needs a generator without labels "
            "and with gaussian noise."
        )
    L, z = torch.zeros(1, 1, info.size, info.size), torch.zeros(1, config.noise_size)
    write_aside(folder / "generator.onnx", to_onnx(generator, L, z))
