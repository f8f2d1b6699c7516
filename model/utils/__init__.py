"""Errors, files, seeds, settings and signals, for all other packages of model."""
