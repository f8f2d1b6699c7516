"""Tests mirror the tree: tests/model, tests/components, tests/pipeline, ..."""
