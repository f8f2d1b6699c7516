"""Choices of a user for a coloring: seed, label, strength and hints."""

from dataclasses import dataclass

from model.inference.hints import Hint
from model.inference.reference import Reference
from model.utils.errors import UserError

STRONGEST = 1.5
"""Largest strength: beyond it most colors leave the gamut."""


@dataclass(frozen=True)
class Choices:
    """Holds what a user chooses for a coloring; `Colorizer.colorize` takes each as a keyword."""

    seed: int = 0
    """0 or more. The same seed gives the same colors."""
    label: str | None = None
    """One of the generator's labels; None for unknown."""
    strength: float = 1.0
    """Factor of the chroma, 0 for gray to `STRONGEST`."""
    hints: tuple[Hint, ...] = ()
    """Colors that the user gives, for a generator that takes hints."""
    like: Reference | None = None
    """A colored photograph of the same roll, for a generator that takes hints; the user's hints cover its colors."""

    def __post_init__(self) -> None:
        """
        Raises:
            UserError: the strength is out of range.
        """
        if not 0 <= self.strength <= STRONGEST:  # NaN, too
            raise UserError(f"strength: {self.strength:g} is not in 0..{STRONGEST}.")


AUTOMATIC = Choices()
"""The choices of a user who chooses nothing."""
