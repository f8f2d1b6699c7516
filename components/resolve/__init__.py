"""The resolve step: names that move become versions when a run begins."""
