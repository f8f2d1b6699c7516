"""The exit task: says how the run ended, whatever happened before it."""
