"""Errors, files, settings and signals: what every room uses."""
