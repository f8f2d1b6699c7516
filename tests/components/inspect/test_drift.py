"""Tests of the population stability index (PSI) and its alarms, which tolerate chance."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chi2

from components.inspect.config import InspectConfig
from components.inspect.distributions import Counts, Distributions
from components.inspect.drift import CHANCE, chance, compare, named, psi

LIMITS = InspectConfig(psi_warn=0.1, psi_stop=0.25)

counts = st.dictionaries(st.sampled_from("abcdefghijkl"), st.integers(0, 500), min_size=1)


def described(**distributions: Counts) -> Distributions:
    return Distributions(data_version="1", size=24, files={}, counts=distributions)


@given(counts)
def test_psi_of_equal_distributions_is_zero(ours: Counts) -> None:
    assert psi(ours, ours) == 0
    assert chance(0, ours, ours) == 1


@given(counts, counts)
def test_psi_is_symmetric_and_never_negative(ours: Counts, theirs: Counts) -> None:
    assert psi(ours, theirs) == pytest.approx(psi(theirs, ours), abs=1e-12)
    assert np.isfinite(psi(ours, theirs))
    assert psi(ours, theirs) >= -1e-12


@given(counts, st.data())
def test_psi_grows_with_the_count_moved_to_another_bin(ours: Counts, data: st.DataObject) -> None:
    filled = [name for name, count in ours.items() if count]
    assume(len(filled) > 1)
    source, target = data.draw(st.permutations(filled))[:2]
    assume(ours[source] > 2)
    less, more = sorted(data.draw(st.sets(st.integers(0, ours[source] - 1), min_size=2, max_size=2)))

    def moved(count: int) -> Counts:
        return {**ours, source: ours[source] - count, target: ours[target] + count}

    assert psi(moved(less), ours) < psi(moved(more), ours)


@given(counts, st.sampled_from("abcxyz"))
def test_an_empty_bin_does_not_change_psi(ours: Counts, name: str) -> None:
    theirs = {"a": 3, "b": 9}
    assert psi({**ours, "empty": 0}, theirs) == psi(ours, theirs)


def test_psi_equals_the_formula_with_a_bin_that_only_one_side_fills() -> None:
    p, q = np.array([60.5, 40.5, 0.5]) / 101.5, np.array([30.5, 60.5, 10.5]) / 101.5
    assert psi({"a": 60, "b": 40}, {"a": 30, "b": 60, "c": 10}) == pytest.approx(((p - q) * np.log(p / q)).sum())


def test_chance_equals_the_tail_of_chi_squared() -> None:
    ours, theirs = {"a": 60, "b": 40, "c": 0}, {"a": 30, "b": 60, "c": 10}
    assert chance(0.05, ours, theirs) == pytest.approx(chi2.sf(0.05 / (1 / 100 + 1 / 100), df=2))


@pytest.mark.parametrize(("ours", "theirs"), [(60, 60), (100, 609), (600, 600)])
def test_samples_of_the_same_distribution_rarely_raise_an_alarm(ours: int, theirs: int) -> None:
    """About one run in a hundred has an alarm; with few photographs, PSI alone would raise one in every run."""
    rng, runs = np.random.default_rng(0), 1000
    shares = rng.dirichlet(np.full(10, 1.0), size=10)
    alarms = above = 0
    for _ in range(runs):
        mine, its = (
            described(**{str(k): dict(enumerate(rng.multinomial(n, p).tolist())) for k, p in enumerate(shares)})
            for n in (ours, theirs)
        )
        drifts = compare(mine, its, LIMITS)
        alarms += sum(drift.verdict != "steady" for drift in drifts.values())
        above += sum(drift.psi > LIMITS.psi_warn for drift in drifts.values())
    assert alarms / runs < 2 * 10 * CHANCE
    assert above / runs > (1 if ours <= 100 else 0)


def test_verdicts_follow_the_limits_and_are_listed_by_psi() -> None:
    ours = described(
        same={"a": 500, "b": 500}, some={"a": 500, "b": 500}, far={"a": 500, "b": 500}, farther={"a": 990, "b": 10},
        alone={"a": 1},
    )  # fmt: skip
    theirs = described(
        farther={"a": 10, "b": 990}, far={"a": 200, "b": 800}, some={"a": 300, "b": 700}, same={"a": 510, "b": 490}
    )
    drifts = compare(ours, theirs, LIMITS)
    assert {name: drift.verdict for name, drift in drifts.items()} == {
        "same": "steady", "some": "warn", "far": "stop", "farther": "stop",
    }  # fmt: skip
    assert named(drifts, "stop") == f"farther (PSI {drifts['farther'].psi:.2f}), far (PSI {drifts['far'].psi:.2f})"
    silent = compare(ours, theirs, InspectConfig(psi_warn=0.1, psi_stop=0.0))
    assert {drift.verdict for drift in silent.values()} == {"steady", "warn"}


def test_few_photographs_need_a_larger_difference() -> None:
    few = compare(described(hue={"a": 12, "b": 8}), described(hue={"a": 6, "b": 14}), LIMITS)["hue"]
    many = compare(described(hue={"a": 1200, "b": 800}), described(hue={"a": 600, "b": 1400}), LIMITS)["hue"]
    assert few.psi > LIMITS.psi_stop
    assert (few.verdict, many.verdict) == ("steady", "stop")
