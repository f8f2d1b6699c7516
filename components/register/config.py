"""Checks section `register` of params.yaml."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, field_validator

from model.metrics.table import METRICS
from model.utils.settings import Section

_NAME = re.compile(r"(?P<metric>\w+)(?:\[(?:worst of (?P<least>[1-9]\d*)|(?P<part>.+))\])?")

_MOST = 1e6
BASELINES = ("gray", "mean_by_lightness")


def _bound(value: Any) -> float | str:
    if isinstance(value, str) and value in BASELINES:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST:
        return float(value)
    allowed = f"a finite number from -1e6 to 1e6, or one of {', '.join(BASELINES)}"
    raise ValueError(f"{value!r:.60} is no bound; write {allowed}")


class Rule(Section):
    """Checks a rule: the better direction, the least gain on the champion, and the bound of promotion.

    The bound is a number, or a baseline that the challenger must surely beat on the same photographs.
    """

    direction: Literal["up", "down"]
    change: Annotated[float, Field(ge=-_MOST, le=_MOST)]
    bound: Annotated[float | str, PlainValidator(_bound)]


class RegisterConfig(Section):
    """Checks the rules of the gate, by `metric`, `metric[slice]` or `metric[worst of 20]`; null takes one away.

    What passes the gate is promoted, or proposed to a person, who has so many days to decide.
    """

    rules: dict[str, Rule]
    promotion: Literal["automatic", "proposed"] = "automatic"
    proposal_days: Annotated[float, Field(gt=0, le=3650)] = 14.0

    @field_validator("rules", mode="before")
    @classmethod
    def _without_null(cls, rules: Any) -> Any:
        return {name: rule for name, rule in rules.items() if rule is not None} if isinstance(rules, dict) else rules

    @field_validator("rules")
    @classmethod
    def _of_metrics(cls, rules: dict[str, Rule]) -> dict[str, Rule]:
        for name in rules:
            if (metric := parse(name)[0]) not in METRICS:
                raise ValueError(
                    f"{metric} is no metric; write {', '.join(METRICS)}, or one of them as in l1_ab[people]"
                )
        return rules


def parse(name: str) -> tuple[str, str, int]:
    """Splits the name of a rule into its metric, its slice and the size of the smallest slice that may be the worst.

    Returns:
        The metric alone for `l1_ab`: ("l1_ab", "", 0); ("l1_ab", "people", 0); ("l1_ab", "", 20) for the worst one.
    """
    found = _NAME.fullmatch(name)
    return (found["metric"], found["part"] or "", int(found["least"] or 0)) if found else (name, "", 0)
