"""Tests of the gate: its decisions, its reasons, and general properties."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.register import gate
from components.register.config import Rule
from components.register.gate import Verdict
from tests.support.retrained import exactly

RULES = {
    "ab_intersection": Rule(direction="up", change=0.005, bound=0.2),
    "l1_ab": Rule(direction="down", change=-0.3, bound=20.0),
}
CHAMPION = {"ab_intersection": 0.5, "l1_ab": 8.0}


def judge(challenger: dict[str, Any], champion: dict[str, Any] | None, rules: dict[str, Rule]) -> Verdict:
    """Judges with exact differences for each metric that both have."""
    both = [name for name in rules if all(isinstance(each.get(name), float) for each in (challenger, champion or {}))]
    return gate.judge(
        challenger, champion, rules, {name: exactly(challenger[name] - champion[name]) for name in both if champion}
    )


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
def test_a_challenger_must_satisfy_every_rule_against_the_champion(
    challenger: dict[str, Any], holds: tuple[bool, bool]
) -> None:
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
def test_the_first_model_must_satisfy_only_the_bounds(challenger: dict[str, Any], outcome: str) -> None:
    assert judge(challenger, None, RULES).outcome == outcome


def test_bounds_also_apply_against_a_champion() -> None:
    verdict = judge({"ab_intersection": 0.19, "l1_ab": 7.0}, {"ab_intersection": 0.1, "l1_ab": 8.0}, RULES)
    assert _reasons(verdict) == {"ab_intersection": False, "l1_ab": True}


@pytest.mark.parametrize("missing", [{}, {"l1_ab": None}, {"l1_ab": math.nan}])
def test_a_champion_without_the_metric_rejects_the_challenger(missing: dict[str, Any]) -> None:
    verdict = judge({"ab_intersection": 0.6, "l1_ab": 7.0}, {"ab_intersection": 0.5, **missing}, RULES)
    assert verdict.outcome == "reject"
    assert _reasons(verdict) == {"ab_intersection": True, "l1_ab": False}


def test_equal_scores_pass_a_rule_that_requires_no_gain() -> None:
    rules = {"psnr": Rule(direction="up", change=0.0, bound=10.0)}
    verdict = judge({"psnr": 22.0}, {"psnr": 22.0}, rules)
    assert verdict.outcome == "promote"
    assert (
        "equal to the champion's 22; the gain is +0 to +0 with 95 % confidence (must not be worse)"
        in verdict.reasons[0].text
    )


@pytest.mark.parametrize(
    ("difference", "outcome"),
    [
        ({"low": 0.006, "high": 0.03}, "promote"),
        ({"low": 0.004, "high": 0.03}, "reject"),  # better by enough on these photographs, not surely on others
    ],
)
def test_a_gain_is_judged_by_the_worse_end_of_its_interval(difference: dict[str, float], outcome: str) -> None:
    up = {"m": Rule(direction="up", change=0.005, bound=0.0)}
    down = {"m": Rule(direction="down", change=0.005, bound=1.0)}
    mirrored = {"low": -difference["high"], "high": -difference["low"]}
    for rules, values, ends in ((up, (0.52, 0.5), difference), (down, (0.48, 0.5), mirrored)):
        (challenger, champion), interval = values, {"m": {**ends, "confidence": 0.95}}
        verdict = gate.judge({"m": challenger}, {"m": champion}, rules, interval)
        assert verdict.outcome == outcome
        assert "+0.03 with 95 % confidence" in verdict.reasons[0].text


def test_a_difference_without_an_interval_is_rejected() -> None:
    verdict = gate.judge({"fid": 5.0}, {"fid": 50.0}, {"fid": Rule(direction="down", change=0.0, bound=100.0)}, {})
    assert verdict.outcome == "reject"
    assert "has no confidence interval" in verdict.reasons[0].text


def test_a_gate_without_rules_rejects_every_model() -> None:
    assert judge({"l1_ab": 1.0}, None, {}).outcome == "reject"


def test_reasons_state_values_changes_and_limits() -> None:
    verdict = judge({"ab_intersection": 0.5012, "l1_ab": 8.5}, CHAMPION, RULES)
    texts = {reason.metric: reason.text for reason in verdict.reasons}
    assert texts["ab_intersection"] == (
        "0.5012 is better by 0.0012 than the champion's 0.5; the gain is +0.0012 to +0.0012 with 95 % confidence"
        " (must be better by 0.005) and within the bound (at least 0.2)"
    )
    assert texts["l1_ab"] == (
        "8.5 is worse by 0.5 than the champion's 8; the gain is -0.5 to -0.5 with 95 % confidence"
        " (may be worse by 0.3) and within the bound (at most 20)"
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
def test_a_better_score_never_loses_a_promotion(value: float, champion: float, rule: Rule, gain: float) -> None:
    better = value + gain if rule.direction == "up" else value - gain
    before, after = (judge({"m": v}, {"m": champion}, {"m": rule}).outcome for v in (value, better))
    assert (before, after) != ("promote", "reject")


@given(figures, figures, rules)
def test_rules_of_opposite_directions_mirror_each_other(value: float, champion: float, rule: Rule) -> None:
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
