"""Tests of the losses, against numbers worked out by hand and by properties that hold for any input."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from model.losses import (
    balanced_weight,
    discriminator_loss,
    diversity_loss,
    generator_adversarial_loss,
    reconstruction_loss,
)

KINDS = ("vanilla", "lsgan", "hinge")
REAL, FAKE = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 0.5])

logits = arrays("float64", (2, 1, 3, 3), elements=st.floats(-50, 50)).map(torch.from_numpy)
pictures = arrays("float64", (2, 2, 4, 4), elements=st.floats(-1, 1)).map(torch.from_numpy)
vectors = arrays("float64", (2, 3), elements=st.floats(-4, 4)).map(torch.from_numpy)


def test_discriminator_loss_equals_values_worked_out_by_hand() -> None:
    # -log s(2) = log(1 + e^-2), -log s(0) = log 2; -log(1 - s(-1)) = log(1 + e^-1), -log(1 - s(.5)) = log(1 + e^.5)
    vanilla = (math.log(1 + math.exp(-2)) + math.log(2) + math.log(1 + math.exp(-1)) + math.log(1 + math.exp(0.5))) / 4
    assert discriminator_loss("vanilla", REAL, FAKE).item() == pytest.approx(vanilla)
    # ((2-1)^2 + (0-1)^2) / 2 = 1; ((-1)^2 + .5^2) / 2 = 0.625
    assert discriminator_loss("lsgan", REAL, FAKE).item() == pytest.approx((1 + 0.625) / 2)
    # (max(0, -1) + max(0, 1)) / 2 = 0.5; (max(0, 0) + max(0, 1.5)) / 2 = 0.75
    assert discriminator_loss("hinge", REAL, FAKE).item() == pytest.approx((0.5 + 0.75) / 2)


def test_generator_adversarial_loss_equals_values_worked_out_by_hand() -> None:
    # -log s(-1) = log(1 + e), -log s(.5) = log(1 + e^-.5)
    vanilla = (math.log(1 + math.e) + math.log(1 + math.exp(-0.5))) / 2
    assert generator_adversarial_loss("vanilla", FAKE).item() == pytest.approx(vanilla)
    assert generator_adversarial_loss("lsgan", FAKE).item() == pytest.approx((4 + 0.25) / 2)
    assert generator_adversarial_loss("hinge", FAKE).item() == pytest.approx(0.25)


def test_reconstruction_loss_equals_values_worked_out_by_hand() -> None:
    predicted, target = torch.tensor([0.5, -0.5, 0.0, 1.0]), torch.tensor([0.0, 0.5, 0.0, 0.5])
    assert reconstruction_loss("l1", predicted, target).item() == pytest.approx((0.5 + 1 + 0 + 0.5) / 4)
    assert reconstruction_loss("l2", predicted, target).item() == pytest.approx((0.25 + 1 + 0 + 0.25) / 4)


def test_diversity_loss_equals_a_value_worked_out_by_hand() -> None:
    z, other_z = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[1.0, 3.0], [1.0, 2.0]])  # 2 and 0.5 apart
    first = torch.zeros(2, 2, 4, 4)
    second = torch.stack((torch.full((2, 4, 4), 0.1), torch.full((2, 4, 4), -0.4)))
    # 0.1 / 2 = 0.05 and 0.4 / 0.5 = 0.8, of which 0.3 counts
    assert diversity_loss(first, second, z, other_z, limit=0.3).item() == pytest.approx(-(0.05 + 0.3) / 2, abs=1e-5)


def test_unknown_loss_names_are_refused() -> None:
    for call in (
        lambda: discriminator_loss("wgan", REAL, FAKE),
        lambda: generator_adversarial_loss("none", FAKE),
        lambda: reconstruction_loss("none", REAL, FAKE),
    ):
        with pytest.raises(ValueError, match=r"unknown (adversarial|reconstruction) loss"):
            call()


@pytest.mark.parametrize(("kind", "best"), [("lsgan", (1.0, 0.0)), ("hinge", (1.0, -1.0)), ("vanilla", (99.0, -99.0))])
def test_discriminator_loss_is_zero_for_a_perfect_discriminator(kind: str, best: tuple[float, float]) -> None:
    real, fake = torch.full((4,), best[0]), torch.full((4,), best[1])
    assert discriminator_loss(kind, real, fake).item() == pytest.approx(0, abs=1e-6)
    assert discriminator_loss(kind, fake, real).item() > 0.5


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=25)
@given(real=logits, fake=logits)
def test_discriminator_loss_separates_logits_and_generator_loss_raises_fake_logits(
    kind: str, real: Tensor, fake: Tensor
) -> None:
    real, fake = real.clamp(max=0.9).requires_grad_(), fake.clamp(min=-0.9, max=0.9).requires_grad_()
    loss = discriminator_loss(kind, real, fake)
    loss.backward()
    assert loss >= 0
    assert (real.grad < 0).all()  # more real is better
    flat = kind == "lsgan"  # the one that also pulls fakes below 0 up
    assert flat or (fake.grad > 0).all()
    mine = fake.detach().requires_grad_()
    generator_adversarial_loss(kind, mine).backward()
    assert (mine.grad < 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_extreme_logits_are_finite(kind: str) -> None:
    logits = torch.tensor([-1e4, 1e4], requires_grad=True)
    (discriminator_loss(kind, logits, logits) + generator_adversarial_loss(kind, logits)).backward()
    assert logits.grad.isfinite().all()


@settings(deadline=None, max_examples=25)
@given(logits, logits)
def test_discriminator_loss_does_not_depend_on_the_number_of_logits(real: Tensor, fake: Tensor) -> None:
    for kind in KINDS:
        once = discriminator_loss(kind, real, fake)
        torch.testing.assert_close(discriminator_loss(kind, real.repeat(3, 1, 2, 1), fake.repeat(2, 1, 1, 2)), once)


@given(share=st.floats(0, 10), reconstruction=st.floats(0, 1e3), ratio=st.floats(0, 1e3))
def test_balanced_weight_gives_the_adversarial_gradient_its_share(
    share: float, reconstruction: float, ratio: float
) -> None:
    main, adversarial = torch.tensor((reconstruction, ratio * reconstruction), dtype=torch.float64)
    weight = balanced_weight(share, main, adversarial)
    assert 0 <= weight.item() <= 1e4 * share + 1e-9
    if ratio > 1e-3:
        assert (weight * adversarial).item() == pytest.approx((share * main).item())
    assert (weight * adversarial).item() <= (share * main).item() * (
        1 + 1e-9
    ) + 1e-300  # less where the gradient vanishes


@settings(deadline=None, max_examples=25)
@given(pictures, pictures)
def test_reconstruction_loss_is_symmetric_and_zero_for_equal_pictures(one: Tensor, other: Tensor) -> None:
    for kind in ("l1", "l2"):
        assert reconstruction_loss(kind, one, one) == 0
        assert reconstruction_loss(kind, one, other) == reconstruction_loss(kind, other, one) >= 0
    assert reconstruction_loss("l1", one, other) ** 2 <= reconstruction_loss("l2", one, other) + 1e-9


@settings(deadline=None, max_examples=25)
@given(pictures, pictures, vectors, vectors, st.floats(0.01, 1))
def test_diversity_loss_is_symmetric_and_bounded(
    one: Tensor, other: Tensor, z: Tensor, other_z: Tensor, limit: float
) -> None:
    loss = diversity_loss(one, other, z, other_z, limit)
    assert -limit - 1e-9 <= loss <= 0
    torch.testing.assert_close(diversity_loss(other, one, other_z, z, limit), loss)
    assert diversity_loss(one, one, z, other_z, limit) == 0


def test_diversity_loss_pushes_colorings_apart_up_to_its_limit() -> None:
    z, other_z = torch.zeros(1, 2), torch.ones(1, 2)
    for apart, pushed in ((0.01, True), (0.05, False)):
        second = torch.full((1, 2, 2, 2), apart, requires_grad=True)
        diversity_loss(torch.zeros(1, 2, 2, 2), second, z, other_z, limit=0.03).backward()
        assert bool((second.grad < 0).all()) is pushed
