"""Limits of the server: sizes, times and numbers of requests."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Holds the limits of one request, of one client and of all together."""

    bytes: int = 32 << 20
    """Largest size of a file."""
    pixels: int = 50_000_000
    """Largest number of pixels of a photograph, times its samples."""
    small_pixels: int = 4_000_000
    """Largest number of pixels, times samples, in the lane of small photographs."""
    samples: int = 8
    seconds: float = 30.0
    """Longest time that a photograph waits for its turn."""
    coloring_seconds: float = 120.0
    """Longest time from its turn to its answer."""
    max_requests: int = 12
    """Largest number of small photographs that wait or are colored."""
    max_large: int = 4
    """Largest number of large photographs that wait or are colored; one is colored at a time."""
    memory: int | None = None
    """Most memory of the process in bytes; None for what `serving.memory.available` finds."""
    enforced: bool = False
    """Keeps the process itself from using more memory: what no estimate foresaw then fails alone."""
    head_seconds: float = 10.0
    """Longest time for the head of a request."""
    idle_seconds: float = 10.0
    """Longest time in which `idle_bytes` of a body arrive, or any part of an answer is taken."""
    idle_bytes: int = 100_000
    connections: int = 64
    """Largest number of connections of one client that wait for a request; the oldest of more is closed."""
    ending_seconds: float = 45.0
    """Longest time that requests get to end after SIGTERM."""
    killed_seconds: float = 55.0
    """Time after SIGTERM at which the process ends in any case; shorter than the manifests' grace period."""
