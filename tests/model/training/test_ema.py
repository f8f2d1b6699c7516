"""Tests of the moving average of the weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from model.training.ema import Ema


@settings(deadline=None, max_examples=20)
@given(half_life=st.integers(1, 10_000), batch=st.integers(1, 512), steps=st.integers(1, 8))
def test_ema_halves_the_share_of_old_weights_in_its_half_life(half_life: int, batch: int, steps: int) -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.ones_(network.weight)
    average = Ema(network, half_life)
    nn.init.zeros_(network.weight)
    for _ in range(steps):
        average.update(network, batch)
    assert average.network.weight.item() == pytest.approx(0.5 ** (steps * batch / half_life), rel=1e-4, abs=1e-6)


def test_ema_copies_running_statistics() -> None:
    network = nn.BatchNorm2d(2)
    average = Ema(network, 10)
    network(torch.randn(4, 2, 3, 3))
    average.update(network, 1)
    assert torch.equal(average.network.running_mean, network.running_mean)
    assert average.network.num_batches_tracked == 1
    assert not average.network.training
