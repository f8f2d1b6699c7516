"""The register step: a scored model becomes a version, and the gate decides whether it becomes the champion."""
