"""Checks section `preprocess` of params.yaml."""

from typing import Annotated

from pydantic import Field

from model.config import Positive
from model.utils.settings import Section


class PreprocessConfig(Section):
    """Checks which photographs are kept, and how they are split and stored."""

    size: Annotated[int, Field(ge=16, le=2048)]
    min_side: Positive
    min_chroma: Annotated[float, Field(ge=0, le=128)]
    near_duplicate_bits: Annotated[int, Field(ge=0, le=32)]
    val_percent: Annotated[int, Field(ge=0, le=50)]
    test_percent: Annotated[int, Field(ge=1, le=50)]
    labels: Annotated[str, Field(pattern=r"^(|folder|.+\.csv)$")]
    min_photographs: Positive
