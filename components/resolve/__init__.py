"""What a run is made of, settled when it begins."""
