"""Tests of prediction: the generator colors pictures of any size."""

import pytest
import torch

from model.config import GeneratorConfig
from model.inference.predict import predict_ab, with_chroma, without_chroma
from model.networks.generator import Generator


def made(test_time_augmentation: bool, hints: bool = False) -> Generator:
    torch.manual_seed(0)
    config = GeneratorConfig(
        encoder="none",
        channels=8,
        levels=4,
        skip=True,
        noise="gaussian",
        noise_size=3,
        norm="group",
        upsample="resize",
        labels=(),
        test_time_augmentation=test_time_augmentation,
        hints=hints,
    )
    return Generator(config).eval()


@pytest.fixture(scope="module")
def generator() -> Generator:
    return made(test_time_augmentation=False)


@pytest.mark.parametrize("shape", [(16, 16), (17, 16), (31, 45), (1, 5), (100, 7)])
def test_prediction_has_the_size_of_its_input(generator: Generator, shape: tuple[int, int]) -> None:
    L = torch.rand(2, 1, *shape) * 2 - 1
    ab = predict_ab(generator, L, torch.randn(2, 3))
    assert ab.shape == (2, 2, *shape)
    assert ab.dtype == torch.float32
    assert ab.abs().max() <= 1
    assert ab.isfinite().all()


def test_an_input_of_divisible_sides_is_not_scaled(generator: Generator) -> None:
    L, z = torch.rand(2, 1, 32, 48) * 2 - 1, torch.randn(2, 3)
    with torch.inference_mode():
        plain = generator(L, z)
    torch.testing.assert_close(predict_ab(generator, L, z), plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("side", "inside"), [(1, 16), (23, 16), (24, 16), (25, 32), (39, 32), (40, 32), (41, 48), (286, 288)]
)
def test_the_network_runs_at_the_nearest_divisible_side(generator: Generator, side: int, inside: int) -> None:
    seen = []
    with generator.encoder[0].register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[-2:]))):
        predict_ab(generator, torch.zeros(1, 1, side, 32), torch.zeros(1, 3))
    assert seen == [(inside, 32)]


@pytest.mark.parametrize("shape", [(37, 40), (300, 21), (16, 16)])
def test_scaling_keeps_positions(generator: Generator, shape: tuple[int, int]) -> None:
    """An identity network returns ramps in both directions at their positions."""
    down, across = torch.linspace(-1, 1, shape[0])[:, None], torch.linspace(-0.5, 0.5, shape[1])
    L = (down * 0.5 + across).expand(1, 1, *shape)
    with generator.register_forward_hook(lambda _, inputs, __: inputs[0].repeat(1, 2, 1, 1)):
        ab = predict_ab(generator, L, torch.zeros(1, 3))
    inner = (..., slice(4, -4), slice(4, -4))  # at the border there is nothing to interpolate with
    torch.testing.assert_close(ab[inner], L[inner].expand(1, 2, -1, -1), atol=0.01, rtol=0)


def test_augmentation_at_test_time_colors_a_mirror_image_as_a_mirror_image() -> None:
    L, z = torch.rand(2, 1, 37, 52, generator=torch.Generator().manual_seed(0)) * 2 - 1, torch.randn(2, 3)
    for augmented in (False, True):
        generator = made(augmented)
        colored, mirrored = predict_ab(generator, L, z), predict_ab(generator, L.flip(-1), z).flip(-1)
        assert colored.shape == (2, 2, 37, 52)
        assert torch.allclose(colored, mirrored, atol=1e-6) == augmented


def test_hints_keep_their_place_and_color_at_any_size_and_in_a_mirror() -> None:
    generator = made(True, hints=True)
    for parameter in generator.hints.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    seen: list[torch.Tensor] = []
    hints = torch.zeros(1, 3, 37, 52)
    hints[:, :2] = 0.9  # counts only where the mask is 1
    hints[..., 10:13, 40:43] = torch.tensor([0.5, -0.3, 1.0]).view(3, 1, 1)
    L, z = torch.rand(1, 1, 37, 52) * 2 - 1, torch.randn(1, 3)
    with generator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[3])):
        colored = predict_ab(generator, L, z, hints=hints)
    assert len(seen) == 4
    for view, mirrored in zip(seen, (False, True, False, True), strict=True):
        ab, mask = view[:, :2], view[0, 2]
        rows, columns = (mask.nonzero().float() + 0.5).mean(dim=0) / torch.tensor(mask.shape)
        assert rows == pytest.approx(11.5 / 37, abs=0.02)
        assert columns == pytest.approx((1 - 41.5 / 52) if mirrored else 41.5 / 52, abs=0.02)
        expected = torch.tensor([0.5, -0.3]).view(2, 1).expand(2, int(mask.sum()))
        torch.testing.assert_close(ab[0][:, mask > 0], expected)
    flipped = predict_ab(generator, L.flip(-1), z, hints=hints.flip(-1)).flip(-1)
    torch.testing.assert_close(colored, flipped, atol=1e-6, rtol=0)
    assert (colored - predict_ab(generator, L, z)).abs().max() > 1e-3


def test_the_chroma_correction_can_be_undone() -> None:
    ab = torch.rand(2, 2, 9, 9) * 2 - 1
    for slope in (0.0, 0.3, 2.0):
        torch.testing.assert_close(without_chroma(with_chroma(ab, slope), slope), ab)
