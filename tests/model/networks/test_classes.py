"""Tests of the classification head: the bins, the annealed mean, and what the generator returns with it."""

import pytest
import torch

from model.color import AB_SCALE, srgb_to_lab
from model.networks.classes import STEP, Classes, centers
from model.networks.generator import Generator
from tests.support.tiny import tiny_config


def _generator(*overrides: str) -> Generator:
    torch.manual_seed(0)
    return Generator(tiny_config("generator.output=classes", *overrides).generator)


def test_every_color_of_srgb_lies_in_a_bin() -> None:
    found = centers()
    assert len(found) == len(found.unique(dim=0)) == 261
    assert torch.equal(found, STEP * (found / STEP).round())
    rgb = torch.randint(0, 256, (3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    rgb[:, 0, :8] = torch.cartesian_prod(*[torch.tensor([0, 255], dtype=torch.uint8)] * 3).T
    ab = srgb_to_lab(rgb)[1:].flatten(1).T
    apart = (ab[:, None] - found).abs().amax(dim=-1).amin(dim=1)
    assert apart.max() <= STEP / 2 + 1e-4


@pytest.mark.parametrize("temperature", [0.38, 1.0])
def test_the_annealed_mean_lies_between_the_mean_and_the_mode(temperature: float) -> None:
    head = Classes(4)
    logits = torch.full((1, len(centers()), 2, 3), -1e4)
    logits[:, 7], logits[:, 90] = 1.0, 0.0  # two bins are possible
    odds = torch.tensor(1 / temperature).sigmoid()
    expected = (odds * centers()[7] + (1 - odds) * centers()[90]) / AB_SCALE
    mean = head.mean(logits, temperature)
    assert mean.shape == (1, 2, 4, 6)
    torch.testing.assert_close(mean, expected.view(1, 2, 1, 1).expand(1, 2, 4, 6))


def test_the_generator_returns_ab_and_on_demand_the_logits_at_half_the_side() -> None:
    generator = _generator().eval()
    L, z = torch.rand(2, 1, 16, 24) * 2 - 1, generator.sample_noise(2, torch.Generator())
    with torch.no_grad():
        ab, logits = generator(L, z, logits=True)
        assert torch.equal(generator(L, z), ab)
        assert logits.shape == (2, len(centers()), 8, 12)
        assert torch.equal(ab, generator.to_ab.mean(logits, 0.38))
        generator.temperature = 1e-3
        modes = centers()[logits.argmax(dim=1)].movedim(-1, 1) / AB_SCALE
        torch.testing.assert_close(
            torch.nn.functional.interpolate(modes, scale_factor=2.0, mode="bilinear"), generator(L, z)
        )


def test_every_parameter_of_the_head_gets_a_gradient_from_the_colors() -> None:
    generator = _generator()
    generator(torch.rand(2, 1, 16, 16) * 2 - 1, generator.sample_noise(2, torch.Generator())).square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in generator.to_ab.parameters())


def test_an_untrained_generator_colors_faintly() -> None:
    generator = _generator().eval()
    with torch.no_grad():
        ab = generator(torch.rand(2, 1, 16, 16) * 2 - 1, generator.sample_noise(2, torch.Generator()))
    assert (AB_SCALE * ab).norm(dim=1).max() < 5
