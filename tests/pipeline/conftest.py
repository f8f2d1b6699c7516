"""Fixtures of the components' tests that the pipeline's tests use too."""

from tests.components.conftest import migrated, retrain, workplace
from tests.components.evaluate.conftest import dataset

__all__ = ["dataset", "migrated", "retrain", "workplace"]
