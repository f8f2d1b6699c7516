"""Tests of the gate: its decisions, its reasons, and general properties."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from components.register import gate
from components.register.config import RegisterConfig, Rule
from components.register.gate import Verdict
from tests.support.retrained import exactly

RULES = {
    "ab_intersection": Rule(direction="up", change=0.005, bound=0.2),
    "l1_ab": Rule(direction="down", change=-0.3, bound=20.0),
}
CHAMPION = {"ab_intersection": 0.5, "l1_ab": 8.0}


def scored(challenger: dict[str, Any], champion: dict[str, Any] | None, **baselines: dict[str, Any]) -> dict[str, Any]:
    """Returns the figures as the evaluate step does, with exact differences for each metric that both have."""

    def gaps(other: dict[str, Any]) -> dict[str, Any]:
        both = [name for name in challenger if all(isinstance(each.get(name), float) for each in (challenger, other))]
        return {name: exactly(challenger[name] - other[name]) for name in both}

    found = challenger | baselines | {"baseline_difference": {name: gaps(each) for name, each in baselines.items()}}
    return found if champion is None else found | {"champion": champion, "difference": gaps(champion)}


def judge(challenger: dict[str, Any], champion: dict[str, Any] | None, rules: dict[str, Rule]) -> Verdict:
    return gate.judge(scored(challenger, champion), rules)


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
        verdict = gate.judge(scored({"m": challenger}, {"m": champion}) | {"difference": interval}, rules)
        assert verdict.outcome == outcome
        assert "+0.03 with 95 % confidence" in verdict.reasons[0].text


def test_a_difference_without_an_interval_is_rejected() -> None:
    figures = scored({"fid": 5.0}, {"fid": 50.0}) | {"difference": {}}
    verdict = gate.judge(figures, {"fid": Rule(direction="down", change=0.0, bound=100.0)})
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


def gray(challenger: float, low: float, high: float) -> dict[str, Any]:
    """Returns the figures of a first model that differs from gray by an interval."""
    gap = {"value": challenger - 10.7, "low": low, "high": high, "confidence": 0.95}
    return {"l1_ab": challenger, "gray": {"l1_ab": 10.7}, "baseline_difference": {"gray": {"l1_ab": gap}}}


@pytest.mark.parametrize(
    ("figures", "outcome"),
    [
        (gray(10.1, -0.9, -0.2), "promote"),
        (gray(10.1, -1.3, 0.1), "reject"),  # better than gray on these photographs, not surely on others
        (gray(10.7, 0.0, 0.0), "reject"),  # gray itself
        (gray(11.2, 0.1, 0.9), "reject"),
        ({"l1_ab": 10.1}, "reject"),  # gray was not scored
    ],
)
def test_a_bound_relative_to_gray_asks_for_a_sure_gain_over_gray(figures: dict[str, Any], outcome: str) -> None:
    verdict = gate.judge(figures, {"l1_ab": Rule(direction="down", change=-0.3, bound="gray")})
    assert verdict.outcome == outcome
    assert "gray's" in verdict.reasons[0].text


def test_permitted_losses_do_not_add_up_from_champion_to_champion() -> None:
    """Each of ten challengers gives 0.25 away; the best champion so far stays the measure."""
    rules = {"l1_ab": Rule(direction="down", change=-0.3, bound=100.0)}
    behind: Mapping[str, float] = {}
    outcomes, champion = [], 10.0
    for _ in range(10):
        verdict = gate.judge(scored({"l1_ab": champion + 0.25}, {"l1_ab": champion}), rules, behind)
        outcomes.append(verdict.outcome)
        if verdict.outcome == "promote":
            champion, behind = champion + 0.25, verdict.behind
    assert outcomes == ["promote"] + ["reject"] * 9
    assert behind == {"l1_ab": -0.25}
    assert "best champion so far, which this champion is 0.25 behind" in verdict.reasons[0].text
    better = gate.judge(scored({"l1_ab": champion - 0.5}, {"l1_ab": champion}), rules, behind)
    assert (better.outcome, better.behind) == ("promote", {})  # the new best


def test_a_loss_in_a_metric_that_today_has_no_rule_is_remembered() -> None:
    verdict = judge({"l1_ab": 7.0, "ab_intersection": 0.6}, CHAMPION, RULES)
    assert verdict.behind == {}
    again = gate.judge(scored({"ab_intersection": 0.6}, {"ab_intersection": 0.5}), RULES, {"psnr": -1.0})
    assert again.behind == {"psnr": -1.0}


SLICED = {
    "people": {"by": "folder", "photographs": 40, **scored({"l1_ab": 12.6}, {"l1_ab": 11.0}, gray={"l1_ab": 11.4})},
    "sky": {"by": "folder", "photographs": 60, **scored({"l1_ab": 5.0}, {"l1_ab": 9.0}, gray={"l1_ab": 9.5})},
    "food": {"by": "label", "photographs": 3, **scored({"l1_ab": 20.0}, {"l1_ab": 10.0}, gray={"l1_ab": 14.0})},
}
WHOLE = scored({"l1_ab": 8.0}, {"l1_ab": 9.8}, gray={"l1_ab": 10.7}) | {"slices": SLICED}


@pytest.mark.parametrize(
    ("name", "holds", "words"),
    [
        ("l1_ab", True, "8 is better by 1.8"),
        ("l1_ab[people]", False, "in people (40 photographs) 12.6 is worse by 1.6"),
        ("l1_ab[sky]", True, "in sky (60 photographs) 5 is better by 4"),
        ("l1_ab[worst of 50]", True, "in sky"),
        ("l1_ab[worst of 20]", False, "in people"),
        ("l1_ab[worst of 2]", False, "in food (3 photographs) 20 is worse by 10"),
        (
            "l1_ab[worst of 200]",
            False,
            "no slice of at least 200 photographs among the test photographs; there are: people",
        ),
        ("l1_ab[rooms]", False, "no slice of rooms among the test photographs; there are: people (40), sky (60)"),
    ],
)
def test_a_rule_may_name_a_slice_or_the_worst_one(name: str, holds: bool, words: str) -> None:
    """The challenger is better on average and worse on people."""
    verdict = gate.judge(WHOLE, {name: Rule(direction="down", change=-0.3, bound="gray")})
    assert [(reason.metric, reason.holds) for reason in verdict.reasons] == [(name, holds)]
    assert words in verdict.reasons[0].text
    assert verdict.outcome == ("promote" if holds else "reject")


def test_a_slice_has_its_own_best_champion_so_far() -> None:
    rules = {"l1_ab[people]": Rule(direction="down", change=-2.0, bound=100.0)}
    first = gate.judge(WHOLE, rules)
    assert (first.outcome, first.behind) == ("promote", {"l1_ab[people]": pytest.approx(-1.6)})
    assert gate.judge(WHOLE, rules, first.behind).outcome == "reject"


def test_a_rule_of_an_unknown_metric_is_refused() -> None:
    rule = Rule(direction="up", change=0.0, bound=0.0)
    with pytest.raises(ValidationError, match="beauty is no metric"):
        RegisterConfig(rules={"beauty[people]": rule})
    assert RegisterConfig(rules={"psnr[a|b/c d]": rule}).rules["psnr[a|b/c d]"] == rule


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
