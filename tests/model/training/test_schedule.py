"""Tests of the schedule: phases and learning rates."""

import math

import pytest

from model.training.schedule import Phase, Schedule
from pipeline.config import load_config
from tests.support.tiny import ROOT, tiny_config

COSINE = (1 + math.cos(0.98 * math.pi)) / 2


@pytest.mark.parametrize(
    ("kind", "factors"),
    [("none", [1, 1, 1, 1, 1]), ("linear", [1, 1, 1, 0.5, 0.02]), ("cosine", [1, 1, 1, 0.5, COSINE])],
)
def test_learning_rates_decay_within_their_phase_on_the_chosen_curve(kind: str, factors: list[float]) -> None:
    within = (0, 250, 500, 750, 990)
    warm_up = Schedule(tiny_config("images=2000", "warmup_images=1000", f"decay={kind}", "game_decay=none"))
    assert [warm_up.factors(images) for images in within] == [(pytest.approx(factor), 0) for factor in factors]
    assert [warm_up.factors(1000 + images) for images in within] == [(1, 1)] * 5
    game = Schedule(tiny_config("images=2000", "warmup_images=1000", "decay=none", f"game_decay={kind}"))
    assert [game.factors(images) for images in within] == [(1, 0)] * 5
    assert [game.factors(1000 + images) for images in within] == [(pytest.approx(factor),) * 2 for factor in factors]


def test_decay_from_the_end_never_decays() -> None:
    schedule = Schedule(tiny_config("decay_from=1.0", "game_decay=linear"))
    assert [schedule.factors(images) for images in (31, 63)] == [(1, 0), (1, 1)]


def test_the_discriminator_learns_alone_between_the_warm_up_and_the_game() -> None:
    schedule = Schedule(tiny_config("warmup_images=24", "critic_images=16"))
    phases = [schedule.phase(images) for images in (0, 23, 24, 39, 40, 63)]
    assert phases == [Phase.WARM_UP] * 2 + [Phase.CRITIC] * 2 + [Phase.ADVERSARIAL] * 2


def test_each_phase_and_network_has_its_own_learning_rate() -> None:
    config = tiny_config(
        *("images=64", "warmup_images=32", "critic_images=16", "decay=cosine", "decay_from=0.0"),
        *("learning_rate=1e-3", "discriminator_learning_rate=5e-4", "game_rate=0.1"),
    )
    rates = [Schedule(config).learning_rates(images) for images in (0, 16, 32, 40, 48, 63)]
    alone = (0, 5e-4)
    assert rates == [(1e-3, 0), (pytest.approx(5e-4), 0), alone, alone, *[(pytest.approx(1e-4), 5e-4)] * 2]


def test_the_recipe_of_pix2pix_decays_both_networks_over_the_second_half() -> None:
    config = load_config(ROOT / "params.yaml", (ROOT / "recipes" / "pix2pix.yaml",)).train
    rates = [Schedule(config).learning_rates(images) for images in (0, 200_000, 300_000, 360_000)]
    assert rates == [(pytest.approx(rate),) * 2 for rate in (2e-4, 2e-4, 1e-4, 4e-5)]
