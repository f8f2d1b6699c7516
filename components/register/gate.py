"""The gate: decides whether a challenger replaces the champion, with a reason for each rule. It touches no file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from components.register.comparison import Compared, compare
from components.register.config import Rule, parse
from components.register.markdown import cell

Outcome = Literal["promote", "propose", "reject", "unchanged"]


@dataclass(frozen=True)
class Reason:
    """Holds the result of one rule: its name, whether it holds, and a sentence with the numbers."""

    metric: str
    holds: bool
    text: str


@dataclass(frozen=True)
class Verdict:
    """Holds the outcome for a challenger.

    promote: all rules hold. propose: so they do, and a person decides. reject: a rule fails, or no comparison was
    possible. unchanged: it is the champion already.
    `behind` says how far the challenger is behind the best champion so far, by metric and slice, where it is.
    """

    outcome: Outcome
    summary: str
    reasons: tuple[Reason, ...]
    behind: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns it in JSON's types; the pipeline branches on `promote`."""
        return {"promote": self.outcome == "promote", **asdict(self), "reasons": [asdict(r) for r in self.reasons]}

    def to_markdown(self, subject: str) -> str:
        """Returns a page in Markdown with a table of the rules.

        Args:
            subject: the challenger's name, for the heading.
        """
        lines = [f"# {subject}: {self.outcome}", "", self.summary.replace("<", "&lt;"), ""]
        if self.reasons:
            lines += ["| metric | holds | why |", "| --- | --- | --- |"]
            lines += [f"| {cell(r.metric)} | {'yes' if r.holds else 'no'} | {cell(r.text)} |" for r in self.reasons]
            lines += [""]
        return "\n".join(lines)


def judge(scored: Mapping[str, Any], rules: Mapping[str, Rule], behind: Mapping[str, float] | None = None) -> Verdict:
    """Promotes a challenger for which every rule holds.

    A rule holds when the challenger's figure is within `bound` and better than the champion's by at least `change`
    (negative: worse by at most that much), also at the worse end of the difference's confidence interval: other test
    photographs could take such a gain back. A rule may name a slice of the photographs, or the worst of all slices of
    at least so many: it holds when it holds in each of them. Special cases:

    - A baseline as bound: the figure must be better than the baseline's, also at the worse end of the interval.
    - A permitted loss (`change` of 0 or below) is counted from the best champion so far, so that losses do not add up
      from champion to champion: what the champion lost already, `behind`, is added to what the challenger loses.
    - First model (no `champion` in `scored`): the bounds alone decide.
    - The challenger's figure is missing, null or not finite: the rule fails.
    - The champion's figure is missing: the rule fails too. One step scores both on the same photographs, so a champion
      without a figure means a faulty evaluation.
    - The difference has no interval (Frechet distances have none): the rule fails.
    - Equal colorings: a gain of 0, which holds when `change` is 0 or negative and fails when it is positive.
    - There is no such slice: the rule fails.
    - No rules: rejected; the gate promotes nothing without a rule.

    Args:
        scored: content of metrics.json, without `champion` when there is no model in service.
        rules: name -> rule.
        behind: of the verdict that promoted the champion.
    """
    if not rules:
        return reject("register.rules in params.yaml is empty: nothing is promoted without a rule.")
    reasons, standing = [], dict(behind or {}) if "champion" in scored else {}
    for name, rule in rules.items():
        compared = _compare(name, rule, scored, behind or {})
        worst = min(compared.values(), key=lambda each: (each.holds, each.margin))
        reasons.append(Reason(name, worst.holds, worst.text))
        standing |= {key: each.behind for key, each in compared.items() if each.behind is not None}
    behind = {key: round(value, 6) for key, value in standing.items() if value < 0}
    failed = [reason.metric for reason in reasons if not reason.holds]
    if failed:
        summary = f"{len(failed)} of {len(reasons)} rules failed: {', '.join(failed)}."
        return Verdict("reject", summary, tuple(reasons), behind)
    first = "the first model, within all bounds"
    against = "none finds it worse than the champion" if "champion" in scored else first
    return Verdict("promote", f"All {len(reasons)} rules hold: {against}.", tuple(reasons), behind)


def reject(summary: str) -> Verdict:
    """Returns the verdict on a challenger to which no rule was applied."""
    return Verdict("reject", summary, ())


def unchanged(summary: str) -> Verdict:
    """Returns the verdict on a challenger that is the champion."""
    return Verdict("unchanged", summary, ())


def _compare(name: str, rule: Rule, scored: Mapping[str, Any], behind: Mapping[str, float]) -> dict[str, Compared]:
    """Applies a rule to the photographs that it names; returns what it found by `metric` or `metric[slice]`."""
    metric, part, least = parse(name)
    slices: Mapping[str, Any] = scored.get("slices", {})
    if not part and not least:
        return {name: compare(metric, rule, scored, behind.get(name, 0.0))}
    chosen = [each for each in slices if each == part or (least and slices[each]["photographs"] >= least)]
    if not chosen:
        wanted = f"of {part}" if part else f"of at least {least} photographs"
        known = ", ".join(f"{each} ({slices[each]['photographs']})" for each in slices) or "none"
        return {name: Compared(False, f"there is no slice {wanted} among the test photographs; there are: {known}")}
    found = {}
    for each in chosen:
        key = f"{metric}[{each}]"
        compared = compare(metric, rule, slices[each], behind.get(key, 0.0))
        text = f"in {each} ({slices[each]['photographs']} photographs) {compared.text}"
        found[key] = Compared(compared.holds, text, compared.margin, compared.behind)
    return found
