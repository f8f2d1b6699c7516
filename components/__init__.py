"""Steps of the retraining graph: each is a plain function over files (step.py) and its KFP component (component.py)."""

from components.renamed import reject_old_module
from model.utils.cores import limit_threads

reject_old_module()
limit_threads()  # before a step loads PyTorch or NumPy
