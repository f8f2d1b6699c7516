"""Datasets published to S3 and streamed from it."""
