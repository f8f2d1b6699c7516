"""Benchmarks of speed and quality, with their results on file."""
