"""Tests of the pixel metrics, against numbers worked out by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.metrics.ab_intersection import BINS, ab_histograms, ab_intersection
from model.metrics.colorfulness import colorfulness
from model.metrics.colorfulness_correlation import correlation
from model.metrics.colorfulness_error import colorfulness_error
from model.metrics.delta_colorfulness import delta_colorfulness
from model.metrics.diversity import diversity
from model.metrics.l1_ab import l1_ab
from model.metrics.psnr import CEILING, psnr
from model.metrics.ssim import ssim

seeds = st.integers(0, 2**32 - 1)


def pictures(*rows: list[tuple[int, int, int]]) -> Tensor:
    """Makes a picture of each row of RGB pixels: (B, 3, 1, W) uint8."""
    return torch.tensor(rows, dtype=torch.uint8).movedim(-1, 1).unsqueeze(2)


def random_ab(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 40


def test_l1_ab_is_a_mean_over_both_channels_for_each_photograph() -> None:
    target = torch.zeros(2, 2, 1, 2)
    predicted = torch.tensor([[[[3.0, -5.0]], [[0.0, 0.0]]], [[[1.0, 1.0]], [[1.0, -1.0]]]])
    assert l1_ab(predicted, target).tolist() == [2.0, 1.0]


def test_psnr_equals_values_worked_out_by_hand() -> None:
    target = torch.full((3, 3, 4, 4), 100, dtype=torch.uint8)
    predicted = target + torch.tensor([0, 1, 16], dtype=torch.uint8).view(3, 1, 1, 1)
    # 20 log10(255 / 1) and 20 log10(255 / 16)
    assert psnr(predicted, target).tolist() == pytest.approx([CEILING, 48.1308, 24.0484], abs=1e-3)


def test_psnr_does_not_wrap_around_in_8_bits() -> None:
    black, white = torch.zeros(1, 3, 2, 2, dtype=torch.uint8), torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    assert psnr(black, white).item() == 0
    assert psnr(white, black).item() == 0


def test_ssim_of_a_single_window_equals_the_papers_formula() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 3, 11, 11), dtype=np.uint8)
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    channels = []
    for x, y in zip(first.astype(float), second.astype(float), strict=True):
        mx, my = (window * x).sum(), (window * y).sum()
        vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
        covariance = (window * (x - mx) * (y - my)).sum()
        channels.append((2 * mx * my + c1) * (2 * covariance + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    value = ssim(torch.from_numpy(first)[None], torch.from_numpy(second)[None])
    assert value.item() == pytest.approx(np.mean(channels), abs=1e-5)


def test_ssim_of_a_copy_is_one_and_of_noise_is_low() -> None:
    rng = torch.Generator().manual_seed(0)
    rgb = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=rng)
    noise = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=rng)
    assert ssim(rgb, rgb).tolist() == pytest.approx([1, 1])
    assert ssim(rgb, noise).max() < 0.1


def test_colorfulness_equals_values_worked_out_by_hand() -> None:
    rgb = pictures(
        [(90, 90, 90), (200, 200, 200)],  # gray: nothing
        [(200, 100, 50), (200, 100, 50)],  # rg = 100, yb = |150 - 50| = 100 everywhere: 0.3 sqrt(2) 100
        [(255, 0, 0), (90, 90, 90)],  # rg 255 and 0, yb 127.5 and 0: mean and deviation 127.5 and 63.75, 1.3 times
        [(255, 0, 0), (0, 255, 0)],  # |R - G| is 255 for both, so nothing deviates: 0.3 sqrt(255^2 + 127.5^2)
    )
    assert colorfulness(rgb).tolist() == pytest.approx([0, 42.4264, 185.3141, 85.5296], abs=1e-3)


def test_colorfulness_uses_absolute_differences_unlike_the_paper() -> None:
    """Without absolute values red and green would deviate: sqrt(255^2 + 0) + 0.3 sqrt(0 + 127.5^2) = 293.25."""
    assert colorfulness(pictures([(255, 0, 0), (0, 255, 0)])).item() < 100


def test_delta_colorfulness_is_the_difference_of_means() -> None:
    predicted, target = torch.tensor([10.0, 30.0]), torch.tensor([30.0, 16.0])
    assert delta_colorfulness(predicted, target).item() == pytest.approx(
        3
    )  # |20 - 23|; the mean of differences would be 17
    assert delta_colorfulness(target, predicted).item() == pytest.approx(3)


def test_colorfulness_error_counts_what_means_hide() -> None:
    predicted, target = torch.tensor([10.0, 30.0]), torch.tensor([30.0, 10.0])
    assert delta_colorfulness(predicted, target).item() == 0
    assert colorfulness_error(predicted, target).tolist() == [20.0, 20.0]


@given(seeds, st.floats(0.1, 10), st.floats(-50, 50))
def test_correlation_agrees_with_numpy_for_drawn_photographs(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    first = scale * rng.normal(size=12) + shift
    second = first + rng.normal(size=12)
    weights = np.stack([np.ones(12), rng.integers(0, 4, 12) + 0.0])
    found = correlation(*(torch.from_numpy(each) for each in (first, second, weights)))
    rows = [np.repeat(np.arange(12), each.astype(int)) for each in weights]
    expected = [np.corrcoef(first[row], second[row])[0, 1] for row in rows]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_correlation_of_colorings_that_are_all_as_colorful_is_0() -> None:
    column = torch.arange(5.0).double()
    assert correlation(torch.full((5,), 3.0).double(), column, torch.ones(1, 5).double()).tolist() == [0.0]


def test_histograms_count_every_pixel_in_its_level() -> None:
    ab = torch.tensor([[[[-128.0, -0.4, 0.4, 127.0]], [[-300.0, 300.0, 0.6, 1.4]]]])
    counts = ab_histograms(ab)
    assert counts.shape == (1, 2, BINS)
    assert {int(i) - 128: int(counts[0, 0, i]) for i in counts[0, 0].nonzero()} == {-128: 1, 0: 2, 127: 1}
    assert {int(i) - 128: int(counts[0, 1, i]) for i in counts[0, 1].nonzero()} == {-128: 1, 1: 2, 127: 1}


def test_intersection_equals_a_value_worked_out_by_hand() -> None:
    first, second = torch.zeros(2, BINS), torch.zeros(2, BINS)
    first[0, :2] = torch.tensor([3.0, 1.0])  # 0.75 and 0.25
    second[0, :2] = torch.tensor([1.0, 1.0])  # 0.5 and 0.5: 0.5 + 0.25 in common
    first[1, 0] = second[1, 1] = 1  # nothing in common
    assert ab_intersection(first, second).item() == pytest.approx(0.375)


@given(seeds, seeds, st.floats(0.01, 3))
def test_intersection_is_symmetric_within_0_and_1_and_is_1_with_itself(first: int, second: int, scale: float) -> None:
    p, q = (
        ab_histograms(random_ab(first, 3, 2, 5, 5)).sum(0),
        ab_histograms(random_ab(second, 2, 2, 5, 5) * scale).sum(0),
    )
    overlap = ab_intersection(p, q).item()
    assert 0 <= overlap <= 1
    assert overlap == ab_intersection(q, p).item()
    assert ab_intersection(p, p * 7).item() == pytest.approx(1)


@given(seeds)
def test_histograms_add_up_over_batches(seed: int) -> None:
    ab = random_ab(seed, 4, 2, 3, 3)
    assert torch.equal(ab_histograms(ab).sum(0), ab_histograms(ab[:1]).sum(0) + ab_histograms(ab[1:]).sum(0))


def test_diversity_is_the_mean_over_all_pairs() -> None:
    samples = torch.zeros(3, 2, 2, 1, 1)
    samples[1, 0] = 3.0
    samples[2, 0] = 9.0  # pairs are 3, 9 and 6 apart; the second photograph's colorings agree
    assert diversity(samples).tolist() == [6.0, 0.0]


def test_diversity_of_one_coloring_is_zero() -> None:
    assert diversity(random_ab(0, 1, 3, 2, 4, 4)).tolist() == [0, 0, 0]
