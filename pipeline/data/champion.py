"""The champion of the repository, champion/ in DVC, for a registry that is empty."""

import sys

from components.register.shipped import adopt
from components.shared.mlflow import registry
from pipeline import ROOT
from pipeline.data.versions import ensure_data

CHAMPION = "models:/colorizer@champion"


def ensure_champion() -> None:
    """Imports the champion of the repository if nothing has ever been registered.

    Raises:
        UserError: champion/ cannot be fetched or is damaged; MLflow cannot be used.
    """
    if registry.find({}) is None:
        ensure_data(ROOT, "champion")
        version = adopt(ROOT / "champion")
        print(
            f"The registry was empty: imported the champion of the repository as version {version.number}.",
            file=sys.stderr,
            flush=True,
        )
