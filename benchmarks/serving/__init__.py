"""Benchmark of `colorize web` under load: its clients, and the figures."""
