"""Export of a generator to ONNX, for programs without PyTorch."""

import torch
from torch import Tensor

from model.networks.generator import Generator


def to_onnx(generator: Generator, L: Tensor, z: Tensor) -> bytes:
    """Returns the content of an ONNX file for pictures of this shape; exporting free sides would take minutes.

    Its inputs L and z and its output are those of `Generator.forward`. It lacks the work of `model.inference.predict`
    and `model.inference.colorizer`, such as scaling to multiples of 2 ** levels and chroma correction.

    Args:
        generator: in eval mode, with gaussian noise and without labels.
        L: (B, 1, H, W) of any values.
        z: (B, noise_size) of any values.
    """
    program = torch.onnx.export(generator, (L, z), dynamo=True, input_names=["L", "z"], verbose=False)
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content
