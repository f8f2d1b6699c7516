"""The choose step: variants of a recipe side by side, and the best of them for the gate."""
