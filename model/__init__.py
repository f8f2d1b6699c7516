"""The colorizer as a PyTorch library: tensors and files, nothing of pipelines, trackers or clusters."""
