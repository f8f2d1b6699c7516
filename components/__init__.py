"""The steps: each a plain function over files (step.py), its KFP face (component.py), its command line (__main__.py)."""
