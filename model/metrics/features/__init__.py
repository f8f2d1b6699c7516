"""Pretrained networks whose features the metrics compare."""
