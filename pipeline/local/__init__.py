"""Runs of the graph on this machine."""
