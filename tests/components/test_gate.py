"""The gate's every decision, and its general laws."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.register.gate import Verdict, judge
from model.config import Rule

RULES = {
    "ab_intersection": Rule(direction="up", change=0.005, bound=0.2),
    "l1_ab": Rule(direction="down", change=-0.3, bound=20.0),
}
CHAMPION = {"ab_intersection": 0.5, "l1_ab": 8.0}


def _reasons(verdict: Verdict) -> dict[str, bool]:
    return {reason.metric: reason.holds for reason in verdict.reasons}


@pytest.mark.parametrize(
    ("challenger", "holds"),
    [
        ({"ab_intersection": 0.51, "l1_ab": 7.9}, (True, True)),
        ({"ab_intersection": 0.505, "l1_ab": 8.3}, (True, True)),  # exactly the change that is asked for, and allowed
        ({"ab_intersection": 0.5049, "l1_ab": 8.0}, (False, True)),  # better, by too little
        ({"ab_intersection": 0.5, "l1_ab": 8.0}, (False, True)),  # equal scores
        ({"ab_intersection": 0.6, "l1_ab": 8.31}, (True, False)),  # worse by more than allowed
        ({"ab_intersection": 0.4, "l1_ab": 9.0}, (False, False)),
        ({"ab_intersection": math.nan, "l1_ab": 7.0}, (False, True)),
        ({"ab_intersection": math.inf, "l1_ab": 7.0}, (False, True)),
        ({"ab_intersection": 0.6, "l1_ab": -math.inf}, (True, False)),
        ({"ab_intersection": None, "l1_ab": 7.0}, (False, True)),
        ({"ab_intersection": "0.6", "l1_ab": 7.0}, (False, True)),
        ({"l1_ab": 7.0}, (False, True)),
    ],
)
def test_against_a_champion(challenger: dict[str, Any], holds: tuple[bool, bool]) -> None:
    verdict = judge(challenger, CHAMPION, RULES)
    assert _reasons(verdict) == dict(zip(RULES, holds, strict=True))
    assert verdict.outcome == ("promote" if all(holds) else "reject")


@pytest.mark.parametrize(
    ("challenger", "outcome"),
    [
        ({"ab_intersection": 0.2, "l1_ab": 20.0}, "promote"),  # the bounds themselves are within
        ({"ab_intersection": 0.19, "l1_ab": 5.0}, "reject"),
        ({"ab_intersection": 0.9, "l1_ab": 20.1}, "reject"),
        ({"ab_intersection": math.nan, "l1_ab": 5.0}, "reject"),
        ({}, "reject"),
    ],
)
def test_the_first_model_is_held_to_the_bounds_alone(challenger: dict[str, Any], outcome: str) -> None:
    assert judge(challenger, None, RULES).outcome == outcome


def test_bounds_hold_against_a_champion_too() -> None:
    verdict = judge({"ab_intersection": 0.19, "l1_ab": 7.0}, {"ab_intersection": 0.1, "l1_ab": 8.0}, RULES)
    assert _reasons(verdict) == {"ab_intersection": False, "l1_ab": True}


@pytest.mark.parametrize("missing", [{}, {"l1_ab": None}, {"l1_ab": math.nan}])
def test_a_champion_without_the_figure_ends_the_comparison(missing: dict[str, Any]) -> None:
    verdict = judge({"ab_intersection": 0.6, "l1_ab": 7.0}, {"ab_intersection": 0.5, **missing}, RULES)
    assert verdict.outcome == "reject"
    assert _reasons(verdict) == {"ab_intersection": True, "l1_ab": False}


def test_equal_scores_pass_where_no_gain_is_asked_for() -> None:
    rules = {"psnr": Rule(direction="up", change=0.0, bound=10.0)}
    verdict = judge({"psnr": 22.0}, {"psnr": 22.0}, rules)
    assert verdict.outcome == "promote"
    assert "equal to the champion's 22 (must not be worse)" in verdict.reasons[0].text


def test_nothing_is_promoted_without_a_rule() -> None:
    assert judge({"l1_ab": 1.0}, None, {}).outcome == "reject"


def test_reasons_are_written_with_the_numbers() -> None:
    verdict = judge({"ab_intersection": 0.5012, "l1_ab": 8.5}, CHAMPION, RULES)
    texts = {reason.metric: reason.text for reason in verdict.reasons}
    assert texts["ab_intersection"] == (
        "0.5012 is better by 0.0012 than the champion's 0.5 (must be better by 0.005)"
        " and within the bound (at least 0.2)"
    )
    assert texts["l1_ab"] == (
        "8.5 is worse by 0.5 than the champion's 8 (may be worse by 0.3) and within the bound (at most 20)"
    )
    assert verdict.summary == "2 of 2 rules failed: ab_intersection, l1_ab."
    for part in (*texts.values(), verdict.summary):
        assert part in verdict.to_markdown("Version 3")
    assert verdict.to_markdown("Version 3").startswith("# Version 3: reject\n")
    assert verdict.to_json()["promote"] is False
    assert verdict.to_json()["reasons"][0] == {
        "metric": "ab_intersection",
        "holds": False,
        "text": texts["ab_intersection"],
    }


figures = st.floats(min_value=-1e3, max_value=1e3)
rules = st.builds(Rule, direction=st.sampled_from(["up", "down"]), change=figures, bound=figures)


@given(figures, figures, rules, st.floats(min_value=0, max_value=1e3))
def test_doing_better_never_loses_a_promotion(value: float, champion: float, rule: Rule, gain: float) -> None:
    better = value + gain if rule.direction == "up" else value - gain
    before, after = (judge({"m": v}, {"m": champion}, {"m": rule}).outcome for v in (value, better))
    assert (before, after) != ("promote", "reject")


@given(figures, figures, rules)
def test_up_and_down_are_mirror_images(value: float, champion: float, rule: Rule) -> None:
    mirrored = Rule(direction="down" if rule.direction == "up" else "up", change=rule.change, bound=-rule.bound)
    ours, theirs = (
        judge({"m": value}, {"m": champion}, {"m": rule}),
        judge({"m": -value}, {"m": -champion}, {"m": mirrored}),
    )
    assert ours.outcome == theirs.outcome


@given(figures, figures, st.lists(rules, min_size=1, max_size=4))
def test_every_rule_has_a_veto(value: float, champion: float, several: list[Rule]) -> None:
    named = {f"m{i}": rule for i, rule in enumerate(several)}
    verdict = judge(dict.fromkeys(named, value), dict.fromkeys(named, champion), named)
    alone = [judge({"m": value}, {"m": champion}, {"m": rule}).outcome for rule in several]
    assert (verdict.outcome == "promote") == (set(alone) == {"promote"})
