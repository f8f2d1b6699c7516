"""Runs, the tree of runs, the registry and promotion."""
