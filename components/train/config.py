"""Checks section `train` of params.yaml: the model library's own settings."""

from model.config import TrainConfig as TrainConfig
