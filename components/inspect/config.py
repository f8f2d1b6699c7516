"""Checks section `inspect` of params.yaml."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from model.config import Weight
from model.utils.settings import Section


class InspectConfig(Section):
    """Checks the limits of drift, in PSI; `psi_stop` 0 never stops."""

    psi_warn: Annotated[float, Field(gt=0, le=1e6)]
    psi_stop: Weight

    @model_validator(mode="after")
    def _warns_before_it_stops(self) -> Self:
        if self.psi_stop and self.psi_stop < self.psi_warn:
            raise ValueError(f"psi_stop ({self.psi_stop:g}) must be 0 or at least psi_warn ({self.psi_warn:g})")
        return self
