"""Tests of the schedule: phases and learning rates."""

import math

import pytest

from model.training.schedule import Phase, Schedule
from tests.support.tiny import tiny_config


@pytest.mark.parametrize(
    ("kind", "factors"),
    [
        ("none", [1, 1, 1, 1, 1]),
        ("linear", [1, 1, 1, 0.5, 0.01]),
        ("cosine", [1, 1, 1, 0.5, (1 + math.cos(0.99 * math.pi)) / 2]),
    ],
)
def test_learning_rate_decay_follows_the_chosen_curve(kind: str, factors: list[float]) -> None:
    schedule = Schedule(tiny_config("images=2000", f"decay={kind}", "decay_from=0.5"))
    assert [schedule.decay(images) for images in (0, 500, 1000, 1500, 1990)] == pytest.approx(factors)


def test_decay_from_the_end_never_decays() -> None:
    assert Schedule(tiny_config("decay_from=1.0")).decay(63) == 1


def test_the_adversarial_phase_follows_the_warm_up() -> None:
    schedule = Schedule(tiny_config("warmup_images=32"))
    assert [schedule.phase(images) for images in (0, 31, 32, 63)] == [Phase.WARM_UP] * 2 + [Phase.ADVERSARIAL] * 2
