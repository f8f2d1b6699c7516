"""Checks section `evaluate` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from model.config import Positive, Seed
from model.utils.settings import Section


class EvaluateConfig(Section):
    """Checks how many photographs are scored, and by which feature networks."""

    split: Literal["test", "val"]
    batch_size: Positive
    photographs: Positive
    samples: Annotated[int, Field(ge=2, le=64)]
    seed: Seed
    confidence: Annotated[float, Field(ge=0.5, lt=1)]
    inception_weights: str
    lpips_weights: str
