"""The steps: each a plain function over files (step.py), a KFP face (component.py), a command line (__main__.py)."""
