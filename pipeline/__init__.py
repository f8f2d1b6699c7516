"""The retraining graph, its local run, its compiled form, and the command line."""

import components  # noqa: F401 - importing it answers an old `python -m pipeline.MODULE`
from components.shared.machine.root import ROOT

__all__ = ["ROOT"]
