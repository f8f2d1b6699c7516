"""Tests of the damages: a and b stay unchanged, each damage has its own effect, and a seed repeats it."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from model.color import encode_lab, srgb_to_lab
from model.data.damage import DAMAGES, damaged, damaged_at_random
from model.data.images import decode
from model.utils.seeds import seeded

SIDE = 128
names = st.sampled_from(sorted(DAMAGES))
pictures = st.tuples(st.integers(1, 20), st.integers(1, 20)).flatmap(
    lambda sides: hnp.arrays(np.uint8, (3, *sides)).map(torch.from_numpy)
)


@pytest.fixture(scope="module")
def photographs(photos: Path) -> Tensor:
    """Returns real photographs: (8, 3, SIDE, SIDE) uint8 stored LAB."""
    found = sorted(photos.rglob("*.jpg"))
    stored = []
    for path in found[:: len(found) // 8][:8]:
        rgb = torch.from_numpy(decode(path, min_side=SIDE).rgb.copy()).permute(2, 0, 1)[None].float() / 255
        stored.append(encode_lab(srgb_to_lab(F.interpolate(rgb, (SIDE, SIDE), mode="area")))[0])
    return torch.stack(stored)


def _after(photographs: Tensor, name: str, strength: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Returns the lightness before and after the damage: (8, SIDE, SIDE) float each, 0..1."""
    after = [damaged(photograph, name, strength, seeded(seed, place)) for place, photograph in enumerate(photographs)]
    return photographs[:, 0] / 255, torch.stack(after)[:, 0] / 255


def _details(lightness: Tensor) -> Tensor:
    """Returns how strongly neighboring pixels differ, for each photograph."""
    return lightness.diff(dim=1).diff(dim=2).square().mean(dim=(1, 2))


@settings(deadline=None, max_examples=75)
@given(stored=pictures, name=names, strength=st.floats(0, 1), seed=st.integers(0, 99))
def test_every_damage_keeps_a_and_b_and_is_repeatable(stored: Tensor, name: str, strength: float, seed: int) -> None:
    before = stored.clone()
    after = damaged(stored, name, strength, seeded(seed))
    assert torch.equal(stored, before)
    assert (after.shape, after.dtype) == (stored.shape, torch.uint8)
    assert torch.equal(after[1:], stored[1:])
    assert torch.equal(after, damaged(stored, name, strength, seeded(seed)))


@settings(deadline=None, max_examples=30)
@given(stored=pictures, probability=st.floats(0, 1), seed=st.integers(0, 99))
def test_random_damage_keeps_a_and_b_and_is_repeatable(stored: Tensor, probability: float, seed: int) -> None:
    after = damaged_at_random(stored, probability, seeded(seed))
    assert torch.equal(after[1:], stored[1:])
    assert torch.equal(after, damaged_at_random(stored, probability, seeded(seed)))
    assert torch.equal(damaged_at_random(stored, 0.0, seeded(seed)), stored)


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_grows_with_its_strength_from_zero(photographs: Tensor, name: str) -> None:
    changes = []
    assert all(torch.equal(damaged(photograph, name, 0.0, seeded(0)), photograph) for photograph in photographs)
    for strength in (0.1, 0.5, 1.0):
        before, after = _after(photographs, name, strength)
        changes.append((after - before).abs().mean().item())
    assert changes == sorted(changes)
    assert 0.005 < changes[-1] < 0.2


@pytest.mark.parametrize("name", sorted(DAMAGES.keys() - {"blur", "jpeg"}))
def test_another_seed_gives_another_damage(photographs: Tensor, name: str) -> None:
    assert not torch.equal(_after(photographs, name, seed=0)[1], _after(photographs, name, seed=1)[1])


def test_blur_removes_details_and_keeps_local_means(photographs: Tensor) -> None:
    before, after = _after(photographs, "blur")
    assert (_details(after) < 0.1 * _details(before)).all()
    assert (F.avg_pool2d(before, 16) - F.avg_pool2d(after, 16)).abs().max() < 0.03
    half = _after(photographs, "blur", 0.5)[1]
    assert (_details(after) < _details(half)).all()
    assert (_details(half) < _details(before)).all()


def test_fade_narrows_the_range_and_keeps_the_order_of_levels(photographs: Tensor) -> None:
    before, after = _after(photographs, "fade")
    assert (after.amin(dim=(1, 2)) >= 0.1 - 1 / 255).all()
    assert (after.amax(dim=(1, 2)) <= 0.95 + 1 / 255).all()
    assert _keeps_the_order(before, after)


@pytest.mark.parametrize("name", ["film_curve", "sepia"])
def test_tone_curves_keep_the_order_of_levels_and_both_ends(name: str) -> None:
    levels = torch.full((3, 1, 256), 128, dtype=torch.uint8)
    levels[0] = torch.arange(256)
    for seed in range(20):
        after = damaged(levels, name, 1.0, seeded(seed))[0, 0].int()
        assert (after[0], after[-1]) == (0, 255)
        assert (after.diff() >= 0).all()


def test_the_film_curve_steepens_the_middle() -> None:
    levels = torch.full((3, 1, 256), 128, dtype=torch.uint8)
    levels[0] = torch.arange(256)
    slopes = [damaged(levels, "film_curve", 1.0, seeded(seed))[0, 0].double().diff() for seed in range(50)]
    mean = torch.stack(slopes).mean(dim=0)
    assert mean[96:160].mean() > 1.25
    assert mean[:16].mean() < 0.75 > mean[-16:].mean()


def test_grain_is_strongest_at_middle_lightness_and_absent_in_black_and_white() -> None:
    gray = torch.full((3, 64, 64), 128, dtype=torch.uint8)
    deviations = []
    for level in (0, 26, 128, 255):
        gray[0] = level
        noisy = torch.stack([damaged(gray, "grain", 1.0, seeded(seed))[0] for seed in range(20)]) / 255
        assert abs(noisy.mean() - level / 255) < 0.003
        deviations.append(noisy.std().item())
    assert deviations[0] == deviations[3] == 0
    assert deviations[1] == pytest.approx(0.08 * 0.6, rel=0.1)  # twice the root of 0.1 * 0.9
    assert deviations[2] == pytest.approx(0.08, rel=0.1)


def test_grain_is_coarse_half_the_time() -> None:
    gray = torch.full((3, 64, 64), 128, dtype=torch.uint8)
    alike = []
    for seed in range(60):
        noise = damaged(gray, "grain", 1.0, seeded(seed))[0].double() - 128
        alike.append(((noise[:, 1:] * noise[:, :-1]).mean() / noise.square().mean()).item())
    assert 15 < sum(correlation < 0.1 for correlation in alike) < 45
    assert max(alike) > 0.4


def test_jpeg_damage_leaves_edges_at_block_borders(photographs: Tensor) -> None:
    before, after = _after(photographs, "jpeg")

    def at_borders(lightness: Tensor) -> Tensor:
        steps = lightness.diff(dim=2).abs().mean(dim=(0, 1))
        return steps[7::8].mean() / steps.mean()

    assert at_borders(after) > 1.05 * at_borders(before)


def test_old_emulsions_darken_red_lighten_blue_and_keep_gray() -> None:
    def after(rgb: tuple[int, int, int], seed: int) -> int:
        color = encode_lab(srgb_to_lab(torch.tensor(rgb, dtype=torch.uint8)[:, None, None]))
        return int(damaged(color, "emulsion", 1.0, seeded(seed))[0]) - int(color[0])

    for seed in range(10):
        assert after((200, 60, 50), seed) < -30
        assert after((100, 150, 230), seed) > 20
        assert abs(after((128, 128, 128), seed)) <= 1


def test_random_damage_has_the_given_probability_and_varies(photographs: Tensor) -> None:
    photograph = photographs[0]
    seen = [damaged_at_random(photograph, 0.3, seeded(place)) for place in range(400)]
    assert 80 < sum(not torch.equal(after, photograph) for after in seen) < 160
    assert len({after.numpy().tobytes() for after in seen}) > 80


def _keeps_the_order(before: Tensor, after: Tensor) -> bool:
    for one, other in zip(before.flatten(1), after.flatten(1), strict=True):
        order = one.argsort(stable=True)
        rises = one[order].diff() > 0
        if (other[order].diff()[rises] < 0).any():
            return False
    return True
