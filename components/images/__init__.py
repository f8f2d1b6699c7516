"""The container images: their names, and what builds into them."""
