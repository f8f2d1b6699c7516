"""Checks section `register` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from model.utils.settings import Section


class Rule(Section):
    """Checks a rule: the better direction, the least gain on the champion, and the bound of promotion."""

    direction: Literal["up", "down"]
    change: Annotated[float, Field(allow_inf_nan=False)]
    bound: Annotated[float, Field(allow_inf_nan=False)]


class RegisterConfig(Section):
    """Checks the rules of the gate, by metric."""

    rules: dict[str, Rule]
