"""The gate: decides whether a challenger replaces the champion, with a reason for each rule. It touches no file."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from components.register.config import Rule

_TOLERANCE = 1e-9  # 0.305 - 0.3 is 0.0050000000000000044, and 0.3 - 0.295 is 0.00499999999...
Outcome = Literal["promote", "reject", "unchanged"]


@dataclass(frozen=True)
class Reason:
    """Holds the result of one rule: its metric, whether it holds, and a sentence with the numbers."""

    metric: str
    holds: bool
    text: str


@dataclass(frozen=True)
class Verdict:
    """Holds the outcome for a challenger.

    promote: all rules hold. reject: a rule fails, or no comparison was possible. unchanged: it is the champion already.
    """

    outcome: Outcome
    summary: str
    reasons: tuple[Reason, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns it in JSON's types; the pipeline branches on `promote`."""
        return {"promote": self.outcome == "promote", **asdict(self), "reasons": [asdict(r) for r in self.reasons]}

    def to_markdown(self, subject: str) -> str:
        """Returns a page in Markdown with a table of the rules.

        Args:
            subject: the challenger's name, for the heading.
        """
        lines = [f"# {subject}: {self.outcome}", "", self.summary, ""]
        if self.reasons:
            lines += ["| metric | holds | why |", "| --- | --- | --- |"]
            lines += [f"| {r.metric} | {'yes' if r.holds else 'no'} | {r.text} |" for r in self.reasons]
            lines += [""]
        return "\n".join(lines)


def judge(
    challenger: Mapping[str, Any],
    champion: Mapping[str, Any] | None,
    rules: Mapping[str, Rule],
    difference: Mapping[str, Mapping[str, float]],
) -> Verdict:
    """Promotes a challenger for which every rule holds.

    A rule holds when the challenger's figure is within `bound` and better than the champion's by at least `change`
    (negative: worse by at most that much), also at the worse end of the difference's confidence interval: other test
    photographs could take such a gain back. Special cases:

    - First model (`champion` is None): the bounds alone decide.
    - The challenger's figure is missing, null or not finite: the rule fails.
    - The champion's figure is missing: the rule fails too. One step scores both on the same photographs, so a champion
      without a figure means a faulty evaluation.
    - The difference has no interval (Frechet distances have none): the rule fails.
    - Equal colorings: a gain of 0, which holds when `change` is 0 or negative and fails when it is positive.
    - No rules: rejected; the gate promotes nothing without a rule.

    Args:
        challenger: metric -> value.
        champion: metric -> value of the model in service; None when there is none.
        rules: metric -> rule.
        difference: metric -> challenger minus champion: `low`, `high`, `confidence`.
    """
    reasons = tuple(
        _apply(metric, rule, challenger, champion, difference.get(metric)) for metric, rule in rules.items()
    )
    failed = [reason.metric for reason in reasons if not reason.holds]
    if not reasons:
        return reject("register.rules in params.yaml is empty: nothing is promoted without a rule.")
    if failed:
        return Verdict("reject", f"{len(failed)} of {len(reasons)} rules failed: {', '.join(failed)}.", reasons)
    against = "the first model, within all bounds" if champion is None else "better than the champion by every rule"
    return Verdict("promote", f"All {len(reasons)} rules hold: {against}.", reasons)


def reject(summary: str) -> Verdict:
    """Returns the verdict on a challenger to which no rule was applied."""
    return Verdict("reject", summary, ())


def unchanged(summary: str) -> Verdict:
    """Returns the verdict on a challenger that is the champion."""
    return Verdict("unchanged", summary, ())


def _apply(
    metric: str,
    rule: Rule,
    challenger: Mapping[str, Any],
    champion: Mapping[str, Any] | None,
    interval: Mapping[str, float] | None,
) -> Reason:
    value = _number(challenger, metric)
    if value is None:
        return Reason(metric, False, f"the challenger's {metric} is {_missing(metric, challenger)}")
    up = rule.direction == "up"
    within = value >= rule.bound if up else value <= rule.bound
    bound = f"{'within' if within else 'beyond'} the bound (at {'least' if up else 'most'} {rule.bound:g})"
    if champion is None:
        return Reason(metric, within, f"{value:.4g} is {bound}; there is no champion to compare with")
    held = _number(champion, metric)
    if held is None:
        return Reason(metric, False, f"{value:.4g} cannot be compared: the champion's is {_missing(metric, champion)}")
    if interval is None:
        why = f"the difference in {metric} has no confidence interval; judge by a metric that has one"
        return Reason(metric, False, f"{value:.4g} cannot be compared: {why}")
    gain = (value - held) if up else (held - value)
    low, high = (interval["low"], interval["high"]) if up else (-interval["high"], -interval["low"])
    better = min(gain, low) >= rule.change - _TOLERANCE
    difference = "equal to" if gain == 0 else f"{'better' if gain > 0 else 'worse'} by {abs(gain):.4g} than"
    required = "must not be worse"
    if rule.change:
        required = f"{'must be better' if rule.change > 0 else 'may be worse'} by {abs(rule.change):g}"
    sure = f"the gain is {low:+.2g} to {high:+.2g} with {100 * interval['confidence']:g} % confidence"
    text = f"{value:.4g} is {difference} the champion's {held:.4g}; {sure} ({required}) and {bound}"
    return Reason(metric, within and better, text)


def _number(figures: Mapping[str, Any], metric: str) -> float | None:
    value = figures.get(metric)
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _missing(metric: str, figures: Mapping[str, Any]) -> str:
    return f"{figures[metric]!r}" if metric in figures else "missing"
