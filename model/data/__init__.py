"""Datasets: photographs decoded, LAB shards on disk, and batches. Importing this package imports no torch."""
