"""Tests of the scale benchmark: fits of a step's growth, and the measurement of a step."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scale.growth import curve, line
from benchmarks.scale.measure import measured
from benchmarks.scale.steps import STEPS

ROWS = (1_000, 3_000, 10_000, 30_000, 100_000)


@given(
    power=st.sampled_from((0.5, 1.0, 1.5, 2.0)),
    constant=st.floats(0.1, 5),
    share=st.floats(2, 50),  # ratio of the growing part to the constant, at the most rows
)
def test_curve_finds_the_power_of_growth_beside_a_constant(power: float, constant: float, share: float) -> None:
    growth = curve(ROWS, [constant * (1 + share * (n / ROWS[-1]) ** power) for n in ROWS])
    assert growth.power == pytest.approx(power, abs=0.051)
    assert growth(10**6) == pytest.approx(constant * (1 + share * 10**power), rel=0.2)


@given(constant=st.floats(0.1, 1000), seed=st.integers(0, 2**32 - 1))
def test_curve_finds_no_growth_in_noise(constant: float, seed: int) -> None:
    noise = np.random.default_rng(seed).uniform(0.9, 1.1, len(ROWS))
    assert curve(ROWS, list(constant * noise)).power == 0


def test_curve_fits_n_log_n_with_a_power_just_above_one() -> None:
    growth = curve(ROWS, [1 + n * np.log(n) * 1e-5 for n in ROWS])
    assert 1 < growth.power <= 1.15


def test_line_extrapolates_linear_growth() -> None:
    growth = line(ROWS, [700 + 0.002 * n for n in ROWS])
    assert growth(10**6) == pytest.approx(2700)


def test_measuring_a_step_gives_time_and_memory_and_keeps_the_environment() -> None:
    before = dict(os.environ)
    row = measured(STEPS["partition"], 2000)
    assert os.environ == before
    assert row["n"] == 2000
    assert row["seconds"] > 0
    assert row["wall_seconds"] > 0
    assert row["megabytes"] >= row["megabytes_before"] > 50
    assert row["bytes"] > 0
