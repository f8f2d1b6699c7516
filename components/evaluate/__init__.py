"""Evaluation: challenger, champion and baselines on the same test photographs."""
