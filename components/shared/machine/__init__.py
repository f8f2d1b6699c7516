"""This machine: workspace, progress, the hash of the code."""
