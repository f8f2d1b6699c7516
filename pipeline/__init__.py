"""The retraining graph, its local run, its compiled form, and the command line."""

from pathlib import Path

import components  # noqa: F401 - importing it answers an old `python -m pipeline.MODULE`

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: params.yaml, recipes/ and data.dvc are here."""
