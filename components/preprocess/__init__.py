"""The preprocess step: photographs to LAB shards and a manifest. It imports nothing: every worker loads it."""
