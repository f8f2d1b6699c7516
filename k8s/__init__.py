"""The manifests, and what checks them without a cluster."""
