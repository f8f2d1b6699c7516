"""Checks section `choose` of params.yaml."""

from typing import Annotated

from pydantic import AfterValidator

from model.metrics.table import directed
from model.utils.settings import Section


def _has_direction(by: str) -> str:
    if by not in directed():
        raise ValueError(f"{by} does not say which variant is better; write one of {', '.join(directed())}")
    return by


class ChooseConfig(Section):
    """Checks the metric by which the best variant is chosen."""

    by: Annotated[str, AfterValidator(_has_direction)]
