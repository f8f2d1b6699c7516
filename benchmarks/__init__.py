"""How fast and how good, against whom; results on file."""
