"""The comparison of a challenger's figure with its bound and with the champion's, under one rule of the gate."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.register.config import Rule

_TOLERANCE = 1e-9  # 0.305 - 0.3 is 0.0050000000000000044, and 0.3 - 0.295 is 0.00499999999...


@dataclass(frozen=True)
class Compared:
    """Holds whether a rule holds, a sentence with the numbers, and by how much the rule holds."""

    holds: bool
    text: str
    margin: float = -math.inf
    """Smaller of the distances from the bound and from the change; negative where the rule fails."""
    behind: float | None = None
    """Distance from the best champion so far, 0 or less; None without a comparison."""


def compare(metric: str, rule: Rule, scored: Mapping[str, Any], behind: float) -> Compared:
    """Compares a challenger's figure with its bound and with the champion's.

    Args:
        metric: of the rule.
        rule: of the gate.
        scored: figures of the challenger, the champion and the baselines on the same photographs, with `difference`
            and `baseline_difference`.
        behind: how far the champion is behind the best champion so far, 0 or less.
    """
    value = _number(scored, metric)
    if value is None:
        return Compared(False, f"the challenger's {metric} is {_missing(metric, scored)}")
    within, bound = _bound(metric, rule, value, scored)
    beyond = "within" if within >= 0 else "beyond"
    if "champion" not in scored:
        text = f"{value:.4g} is {beyond} the bound ({bound}); there is no champion to compare with"
        return Compared(within >= 0, text, within)
    champion = scored["champion"]
    held, interval = _number(champion, metric), scored.get("difference", {}).get(metric)
    if held is None:
        return Compared(False, f"{value:.4g} cannot be compared: the champion's is {_missing(metric, champion)}")
    if interval is None:
        why = f"the difference in {metric} has no confidence interval; judge by a metric that has one"
        return Compared(False, f"{value:.4g} cannot be compared: {why}")
    low, gain, high = _gain(rule, interval, value - held)
    lost = behind if rule.change <= 0 else 0.0
    margin = min(gain, low) + lost - rule.change + _TOLERANCE
    difference = "equal to" if gain == 0 else f"{'better' if gain > 0 else 'worse'} by {abs(gain):.4g} than"
    required = "must not be worse"
    if rule.change:
        required = f"{'must be better' if rule.change > 0 else 'may be worse'} by {abs(rule.change):g}"
    if lost:
        required += f" than the best champion so far, which this champion is {-lost:.4g} behind"
    sure = f"the gain is {low:+.2g} to {high:+.2g} with {100 * interval['confidence']:g} % confidence"
    text = (
        f"{value:.4g} is {difference} the champion's {held:.4g}; {sure} ({required}) and {beyond} the bound ({bound})"
    )
    return Compared(within >= 0 and margin >= 0, text, min(within, margin), min(0.0, behind + gain))


def _bound(metric: str, rule: Rule, value: float, scored: Mapping[str, Any]) -> tuple[float, str]:
    """Returns how far a figure is within its bound, negative beyond it, and the bound in words."""
    up = rule.direction == "up"
    if not isinstance(rule.bound, str):
        return (value - rule.bound if up else rule.bound - value), f"at {'least' if up else 'most'} {rule.bound:g}"
    held = _number(scored.get(rule.bound, {}), metric)
    interval = scored.get("baseline_difference", {}).get(rule.bound, {}).get(metric)
    name = rule.bound.replace("_", " ")
    if held is None or interval is None:
        return -math.inf, f"better than {name}'s, which has no figure or no interval"
    low, gain, high = _gain(rule, interval, value - held)
    surely = min(low, gain)
    words = f"better than {name}'s {held:.4g}: the gain is {low:+.2g} to {high:+.2g}"
    return (surely if surely > 0 else min(surely, -_TOLERANCE)), words


def _gain(rule: Rule, interval: Mapping[str, float], difference: float) -> tuple[float, float, float]:
    """Returns a difference as a gain in the rule's direction: low end, value, high end."""
    if rule.direction == "up":
        return interval["low"], difference, interval["high"]
    return 0.0 - interval["high"], 0.0 - difference, 0.0 - interval["low"]  # not -0.0


def _number(figures: Mapping[str, Any], metric: str) -> float | None:
    value = figures.get(metric)
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _missing(metric: str, figures: Mapping[str, Any]) -> str:
    return f"{figures[metric]!r}" if metric in figures else "missing"
