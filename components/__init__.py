"""Steps of the retraining graph: each is a plain function over files (step.py) and its KFP component (component.py)."""

from components.renamed import reject_old_module

reject_old_module()
