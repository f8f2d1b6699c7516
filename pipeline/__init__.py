"""The steps chained: the graph, its local run, its compiled form, and the command line."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: params.yaml, recipes/, data.dvc are here."""
