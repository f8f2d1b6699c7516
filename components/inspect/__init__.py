"""The inspect step: what the photographs are like, and how far they have drifted from those of the champion."""
