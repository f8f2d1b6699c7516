"""Tests of the ONNX export: ONNX Runtime computes the same colors as PyTorch."""

import numpy as np
import pytest
import torch

from model.inference.onnx import to_onnx
from model.networks.generator import Generator
from tests.support.tiny import tiny_config

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(
    ("encoder", "shape"),
    [
        ("none", (64, 96)),
        *(
            pytest.param(encoder, shape, marks=pytest.mark.slow)
            for encoder in ("none", "efficientnet_lite0")
            for shape in ((64, 64), (96, 128), (160, 64))
        ),
    ],
)
def test_onnx_output_equals_torch_output(encoder: str, shape: tuple[int, int]):
    levels = 3 if encoder == "none" else 5
    config = tiny_config(f"generator.encoder={encoder}", f"generator.levels={levels}", "crop=32", size=32)
    torch.manual_seed(0)
    generator = Generator(config.generator).eval()
    for parameter in generator.parameters():
        parameter.requires_grad_(False).mul_(3.0 if encoder == "none" else 1.0)
    rng = torch.Generator().manual_seed(1)
    L, z = torch.rand(2, 1, *shape, generator=rng) * 2 - 1, generator.sample_noise(2, rng)
    with torch.no_grad():
        expected = generator(L, z).numpy()
        session = onnxruntime.InferenceSession(to_onnx(generator, L, z), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"L": L.numpy(), "z": z.numpy()})
    assert np.ptp(expected) > 0.05
    assert np.abs(found - expected).max() < 1e-3
