"""The generator at use, on pictures of any side."""

import pytest
import torch

from model.config import GeneratorConfig
from model.inference import predict_ab
from model.networks import Generator


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    config = GeneratorConfig(
        channels=8, levels=4, skip=True, noise="gaussian", noise_size=3, norm="group", upsample="resize"
    )
    return Generator(config).eval()


@pytest.mark.parametrize("shape", [(16, 16), (17, 16), (31, 45), (1, 5), (100, 7)])
def test_any_size_comes_back_at_its_size(generator: Generator, shape: tuple[int, int]) -> None:
    L = torch.rand(2, 1, *shape) * 2 - 1
    ab = predict_ab(generator, L, torch.randn(2, 3))
    assert ab.shape == (2, 2, *shape)
    assert ab.dtype == torch.float32
    assert ab.abs().max() <= 1
    assert ab.isfinite().all()


def test_a_side_that_divides_is_not_padded(generator: Generator) -> None:
    L, z = torch.rand(2, 1, 32, 48) * 2 - 1, torch.randn(2, 3)
    with torch.inference_mode():
        plain = generator(L, z)
    torch.testing.assert_close(predict_ab(generator, L, z), plain, atol=1e-5, rtol=0)


def test_padding_repeats_the_edge_around_the_picture(generator: Generator) -> None:
    L, z = torch.rand(1, 1, 30, 27) * 2 - 1, torch.randn(1, 3)
    rows = torch.arange(-1, 31).clamp(0, 29)  # 2 rows are missing to 32: one above, one below
    columns = torch.arange(-2, 30).clamp(0, 26)  # 5 columns: two on the left, three on the right
    with torch.inference_mode():
        expected = generator(L[..., rows, :][..., columns], z)[..., 1:31, 2:29]
    torch.testing.assert_close(predict_ab(generator, L, z), expected, atol=1e-5, rtol=0)
