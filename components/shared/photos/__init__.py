"""Photographs in a folder, a DVC remote or an S3 prefix."""
