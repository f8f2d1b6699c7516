"""Checks section `register` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from model.utils.settings import Section


class Rule(Section):
    direction: Literal["up", "down"]
    change: Annotated[float, Field(allow_inf_nan=False)]
    bound: Annotated[float, Field(allow_inf_nan=False)]


class RegisterConfig(Section):
    rules: dict[str, Rule]
