"""Training as a TrainJob of Kubeflow Trainer."""
