"""Evaluation of challenger, champion and baselines on the same test photographs."""
