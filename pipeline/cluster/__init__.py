"""Runs, schedules and images on a Kubeflow cluster."""
