"""The preprocess step: photographs to LAB shards and a manifest. Empty, because every worker process imports it."""
