"""Seeds and random generators, each derived from a key that names its purpose."""

import hashlib

import torch


def seeded(*key: int | str) -> torch.Generator:
    """Returns a CPU random generator whose draws depend on the key alone."""
    return torch.Generator().manual_seed(seed_of(*key))


def seed_of(*key: int | str) -> int:
    """Hashes the key to 0..2^32 - 1: torch's generator uses only 32 bits of a seed."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, key)).encode()).digest()[:4])
