"""Tests of the perceptual loss: its value against an independent computation, and its gradients."""

import pytest
import torch
from timm.models import create_model
from torch import Tensor

from model.color import from_network, lab_to_srgb, srgb_to_lab, to_network
from model.networks.encoders import packaged_weights
from model.networks.perceptual import PerceptualLoss


@pytest.fixture(scope="module")
def loss() -> PerceptualLoss:
    return PerceptualLoss()


def picture(seed: int, side: int = 64) -> tuple[Tensor, Tensor]:
    """Returns L and ab of smooth random pictures."""
    rgb = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    rgb = torch.nn.functional.interpolate(rgb, (side, side), mode="bilinear")
    return to_network(srgb_to_lab(rgb))


def test_the_loss_is_the_mean_squared_distance_of_unit_features(loss: PerceptualLoss) -> None:
    L, ab = picture(0)
    predicted = 0.5 * ab
    network = create_model("tf_efficientnet_lite0").eval()
    network.load_state_dict(packaged_weights().state)
    distances = []
    with torch.inference_mode():
        pictures = [2 * lab_to_srgb(from_network(L, colors)).clamp(0, 1) - 1 for colors in (predicted, ab)]
        stages = [network.forward_intermediates(rgb, intermediates_only=True, norm=False) for rgb in pictures]
    for mine, theirs in zip(*stages, strict=True):
        units = [x.double() / x.double().square().sum(dim=1, keepdim=True).sqrt() for x in (mine, theirs)]
        distances.append((units[0] - units[1]).square().sum(dim=1).mean().item())
    assert len(distances) == 5
    assert loss(L, predicted, ab).item() == pytest.approx(sum(distances) / 5, rel=1e-3)
    assert loss(L, predicted, ab) > 0.01
    assert loss(L, ab, ab) == 0


@pytest.mark.parametrize("spread", [0, 6])
def test_descent_leads_to_the_true_colors_from_gray_and_from_out_of_gamut(loss: PerceptualLoss, spread: int) -> None:
    L, ab = picture(1)
    predicted = (spread * picture(2)[1]).clamp(-1, 1).requires_grad_(True)
    adam = torch.optim.Adam([predicted], lr=0.03)
    values = []
    for _ in range(40):
        adam.zero_grad()
        value = loss(L, predicted, ab)
        value.backward()
        assert predicted.grad is not None
        assert predicted.grad.isfinite().all()
        values.append(value.item())
        adam.step()
    assert values[-1] < 0.7 * values[0]
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in loss.parameters())


def test_bfloat16_autocast_changes_the_loss_little_and_its_type_not(loss: PerceptualLoss) -> None:
    L, ab = picture(3)
    exact = loss(L, 0.5 * ab, ab)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = loss(L, 0.5 * ab, ab)
    assert coarse.dtype == torch.float32
    assert coarse.item() == pytest.approx(exact.item(), rel=0.1)
