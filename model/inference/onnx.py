"""A generator as an ONNX file, for programs that have no PyTorch."""

import torch
from torch import Tensor

from model.networks.generator import Generator


def to_onnx(generator: Generator, L: Tensor, z: Tensor) -> bytes:
    """The file's content, for pictures of this shape: with sides left open, exporting takes minutes.

    Its inputs L and z and its output are those of `Generator.forward`. What `model.inference.predict` and
    `model.inference.colorizer` do around it, such as scaling to multiples of 2 ** levels and strengthening colors, is
    not in it.

    Args:
        generator: in eval mode, with gaussian noise and without labels.
        L: (B, 1, H, W), any values.
        z: (B, noise_size), any values.
    """
    program = torch.onnx.export(generator, (L, z), dynamo=True, input_names=["L", "z"], verbose=False)
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content
