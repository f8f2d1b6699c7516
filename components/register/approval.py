"""Approval: a challenger that passed the gate waits under the alias `proposed` until a person decides.

A later proposal takes the alias. A proposal ends when its version is promoted, in whatever way, or rejected.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from components.register.config import RegisterConfig
from components.register.judgement import judge
from components.shared.mlflow import evaluations, promotion, registry
from components.shared.mlflow.registry import Version
from model.utils.errors import UserError
from model.utils.settings import check

RULES = "rules.json"
"""File of a version's evaluation: section `register` of params.yaml, by which it was judged."""


def approve(reason: str, number: int | None = None) -> Version:
    """Promotes the proposed version, if the rules by which it was judged let it pass beside today's champion.

    Args:
        reason: for the history.
        number: of the version that the caller means; None for whichever is proposed.

    Returns:
        The champion.

    Raises:
        UserError: nothing is proposed, or another version is; the proposal is too old; today's champion was not scored
            beside it; a rule fails; or as `promotion.promote`.
    """
    version = _waiting(number)
    config = check(RegisterConfig, _evaluation(version, RULES), f"{version.evaluation}/{RULES}")
    if trouble := _too_old(version, config.proposal_days):
        raise UserError(trouble)
    champion = registry.champion()
    verdict = judge(version.weights_sha256, _evaluation(version, "metrics.json"), champion, config)
    if verdict.outcome not in ("promote", "propose"):
        overtaken = champion and version.tags.get("judged_beside") != str(champion.number)
        since = f", and version {champion.number} became champion after that" if champion and overtaken else ""
        raise UserError(f"Version {version.number} was proposed on {_day(version)}{since}. {verdict.summary}")
    return promotion.promote(version.number, reason, replaces=champion.number if champion else None)


def reject(reason: str, number: int | None = None) -> Version:
    """Rejects the proposed version; no model in service changes.

    Args:
        reason: for people.
        number: as for `approve`.

    Raises:
        UserError: nothing is proposed, or another version is.
    """
    version = _waiting(number)
    promotion.reject(version.number, reason)
    return version


def _waiting(number: int | None) -> Version:
    version = registry.by_alias(promotion.PROPOSED)
    if version is None:
        raise UserError("No version is proposed; `colorize models` lists all versions and their aliases.")
    if number in (None, version.number):
        return version
    asked = registry.get(number) if number else version
    later = f"version {version.number} is, since {_day(version)}"
    was = f"any more: it was proposed on {_day(asked)}" if "proposed_at" in asked.tags else "for promotion"
    raise UserError(f"Version {number} is not proposed {was}; {later}.")


def _too_old(version: Version, days: float) -> str:
    age = datetime.now(UTC) - datetime.fromisoformat(version.tags["proposed_at"])
    if age <= timedelta(days=days):
        return ""
    return (
        f"Version {version.number} was proposed on {_day(version)}, more than {days:g} days ago "
        f"(register.proposal_days). Evaluate it again (`colorize submit --evaluate {version.number}`), or reject it "
        "(`colorize reject`)."
    )


def _evaluation(version: Version, name: str) -> dict[str, Any]:
    """Reads a file of a version's evaluation."""
    content = evaluations.read(version, name)
    if content is None:
        raise UserError(f"{version.evaluation} has no {name}; evaluate version {version.number} again.")
    found: dict[str, Any] = json.loads(content)
    return found


def _day(version: Version) -> str:
    return version.tags["proposed_at"][:10]
