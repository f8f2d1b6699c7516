"""Checks section `register` of params.yaml."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from model.metrics.table import METRICS
from model.utils.settings import Section

_NAME = re.compile(r"(?P<metric>\w+)(?:\[(?:worst of (?P<least>[1-9]\d*)|(?P<part>.+))\])?")

Number = Annotated[float, Field(allow_inf_nan=False)]
Baseline = Literal["gray", "mean_by_lightness"]


class Rule(Section):
    """Checks a rule: the better direction, the least gain on the champion, and the bound of promotion.

    The bound is a number, or a baseline that the challenger must surely beat on the same photographs.
    """

    direction: Literal["up", "down"]
    change: Number
    bound: Number | Baseline


class RegisterConfig(Section):
    """Checks the rules of the gate, by `metric`, `metric[slice]` or `metric[worst of 20]`."""

    rules: dict[str, Rule]

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
