"""Tests of proposals: a version that passed the gate waits until a person decides, in a real SQLite store."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components.register import approval
from components.register.config import RegisterConfig, Rule
from components.register.step import promote, register
from components.report.step import report
from components.shared.machine.pipeline_run import RUN_ID
from components.shared.mlflow import promotion, registry
from model.utils.errors import UserError
from tests.support.retrained import RULES, TAGS, evaluated, trained

PROPOSED = RULES.model_copy(update={"promotion": "proposed"})
RUN = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def propose(workplace: Path) -> Callable[..., dict[str, Any]]:
    """Returns propose(score, champion's score), which registers a new model where people decide."""
    count = 0

    def _propose(score: float, champion: float | None = None) -> dict[str, Any]:
        nonlocal count
        count += 1
        model = trained(workplace / f"proposal-{count}")
        return register(
            model, evaluated(model, score, champion), workplace / "out", PROPOSED, TAGS | {"pipeline_run_id": RUN}
        )

    return _propose


def there() -> dict[str, int]:
    return dict(registry.model().aliases)


def test_a_challenger_that_passes_the_gate_waits_and_a_person_promotes_it(
    workplace: Path, retrain: Callable[..., Any], propose: Callable[..., dict[str, Any]]
) -> None:
    retrain(0.5)
    record = propose(0.6, 0.5)
    assert (record["outcome"], record["promote"]) == ("propose", False)
    assert there() == {"champion": 1, "challenger": 2, "proposed": 2}
    assert registry.get(2).tags["proposal_reason"] == "gate: All 1 rules hold: none finds it worse than the champion."
    with pytest.raises(UserError, match="version 2 is not to be promoted"):
        promote(workplace / "out")
    assert approval.approve("the faces look better").number == 2
    assert there() == {"champion": 2, "challenger": 2, "previous": 1}
    assert promotion.history()[-1].reason == "the faces look better"
    with pytest.raises(UserError, match="No version is proposed"):
        approval.approve("once more")


def test_a_person_rejects_a_proposal(retrain: Callable[..., Any], propose: Callable[..., dict[str, Any]]) -> None:
    retrain(0.5)
    propose(0.6, 0.5)
    assert approval.reject("skin is gray").number == 2
    assert there() == {"champion": 1, "challenger": 2}
    assert registry.get(2).tags["rejection_reason"] == "skin is gray"


def test_a_first_model_and_one_that_fails_are_treated_as_everywhere(propose: Callable[..., dict[str, Any]]) -> None:
    assert propose(0.1)["outcome"] == "reject"
    assert there() == {"challenger": 1}
    assert propose(0.5)["outcome"] == "propose"
    assert approval.approve("the first").number == 2


def test_a_proposal_that_another_champion_overtook_is_not_promoted(
    retrain: Callable[..., Any], propose: Callable[..., dict[str, Any]]
) -> None:
    retrain(0.5)
    propose(0.6, 0.5)
    retrain(0.7, 0.5)
    with pytest.raises(UserError, match=r"Version 2 was proposed on .*, and version 3 became champion after that"):
        approval.approve("too late")
    assert there()["champion"] == 3


def test_a_later_proposal_takes_the_place_of_an_earlier_one(
    retrain: Callable[..., Any], propose: Callable[..., dict[str, Any]]
) -> None:
    retrain(0.5)
    propose(0.6, 0.5)
    propose(0.65, 0.5)
    with pytest.raises(UserError, match=r"Version 2 is not proposed any more: it was proposed on .*; version 3 is"):
        approval.approve("the one I looked at", 2)
    with pytest.raises(UserError, match="Version 1 is not proposed for promotion; version 3 is"):
        approval.reject("a mistake", 1)
    assert approval.approve("better still", 3).number == 3


def test_an_old_proposal_is_evaluated_again_before_it_can_be_promoted(
    retrain: Callable[..., Any], propose: Callable[..., dict[str, Any]], workplace: Path
) -> None:
    retrain(0.5)
    propose(0.6, 0.5)
    past = datetime.now(UTC) - timedelta(days=15)
    registry.set_tags(2, {"proposed_at": past.isoformat(timespec="milliseconds")})
    with pytest.raises(UserError, match=r"more than 14 days ago .*--evaluate 2"):
        approval.approve("at last")
    model = workplace / "proposal-1"
    register(model, evaluated(model, 0.6, 0.5), workplace / "out", PROPOSED, TAGS)
    assert approval.approve("at last").number == 2


def test_the_rules_are_applied_again_beside_the_champion_of_that_moment(
    retrain: Callable[..., Any], workplace: Path
) -> None:
    retrain(0.5)
    rules = {"ab_intersection": Rule(direction="up", change=-0.03, bound=0.2)}
    model = trained(workplace / "model")
    config = RegisterConfig(rules=rules, promotion="proposed")
    assert register(model, evaluated(model, 0.48, 0.5), workplace / "out", config, TAGS)["outcome"] == "propose"
    registry.set_tags(1, {"behind": json.dumps({"ab_intersection": -0.02})})  # now it is itself behind the best so far
    with pytest.raises(UserError, match=r"1 of 1 rules failed: ab_intersection"):
        approval.approve("nearly as good")
    assert there()["champion"] == 1


def test_people_are_told_of_a_proposal_with_figures_and_pictures(
    retrain: Callable[..., Any],
    propose: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retrain(0.5)
    monkeypatch.setenv(RUN_ID, RUN)
    monkeypatch.setenv("COLORIZE_MLFLOW_UI", "https://mlflow.example")
    propose(0.6, 0.5)
    told = report("SUCCEEDED", "", "demo", TAGS["data_version"])
    assert (told["outcome"], told["version"]) == ("proposed", 2)
    assert told["metrics"]["ab_intersection"] == {"version": 0.6, "champion": 0.5}
    assert told["links"]["pictures"].startswith("https://mlflow.example/get-artifact?path=evaluation/samples.png")
    assert "version 2 is proposed: `colorize promote --proposed`" in told["text"]
    assert "ab_intersection holds" in told["text"]
