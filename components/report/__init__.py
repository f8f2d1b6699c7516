"""The exit task: reports how the run ended, whatever happened before."""
