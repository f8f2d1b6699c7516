"""Datasets in S3, published and streamed."""
