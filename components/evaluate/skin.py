"""Skin: errors of chroma and hue inside faces, by the lightness of the skin in the photograph."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from components.evaluate.accumulate import to_displayable
from components.evaluate.faces import Face, find_faces
from components.evaluate.protocol import SAMPLED
from model.color import decode_lab

BOUNDS = (45.0, 60.0)
"""L of the skin that parts the bins, fixed: 60 is where tan skin begins by the individual typology angle, 28 degrees at
the usual b of 19; 45 lies in the middle of brown. Each bin holds a quarter or more of the catalog's faces."""
LEAST = 10
"""Number of faces from which a bin has figures."""
_COLORED = 2.0  # chroma below which a mean color has no hue that anyone could see


class SkinAccumulator:
    """Accumulates the mean color of skin in photographs and colorings. Faces are found once for all candidates."""

    def __init__(self) -> None:
        self.colorings: dict[str, list[Tensor]] = defaultdict(list)
        """Candidate -> (2,) a and b for each face, in the order of the faces."""
        self._batch: list[tuple[int, Face]] = []
        self._truth: list[Tensor] = []
        self._photographs: list[int] = []
        self._searched = 0

    def add_truth(self, stored: Tensor, photographs: Sequence[int]) -> None:
        """Finds the faces of a batch of photographs; `add` takes colorings of the same.

        Args:
            stored: (B, 3, H, W) uint8, stored CIELAB.
            photographs: the index of each. From `SAMPLED` on none is searched.
        """
        searched = [row for row, photograph in enumerate(photographs) if photograph < SAMPLED]
        pixels = stored[searched].cpu()
        found = [(row, face) for row, lab in zip(searched, pixels.numpy(), strict=True) for face in find_faces(lab)]
        self.add_faces(stored, photographs, found)
        self._searched += len(searched)

    def add_faces(self, stored: Tensor, photographs: Sequence[int], faces: Sequence[tuple[int, Face]]) -> None:
        """Adds faces as pairs of the row of the batch and the face; otherwise as `add_truth`."""
        self._batch = list(faces)
        for row, face in faces:
            self._truth.append(face.skin(decode_lab(stored[row : row + 1])[0]).cpu())
            self._photographs.append(photographs[row])

    def add(self, name: str, lightness: Tensor, ab: Tensor) -> None:
        """Adds a candidate's colorings of the batch.

        Args:
            name: of the candidate.
            lightness: (B, 1, H, W) uint8, stored L.
            ab: (B, 2, H, W) in CIELAB units; measured as users get it.
        """
        rows = sorted({row for row, _ in self._batch})
        shown = dict(zip(rows, to_displayable(lightness[rows], ab[rows])[:, 1:], strict=True)) if rows else {}
        self.colorings[name] += [face.skin(shown[row]).cpu() for row, face in self._batch]

    def figures(self) -> dict[str, Any]:
        """Returns the figures of each candidate, of JSON's types.

        Returns:
            `searched`: number of photographs that were searched; `faces` and `photographs`: number of faces and of
            photographs with one; and by candidate, where there are faces: bin -> `faces`, `photographs`, and with
            `LEAST` faces `chroma_error`, `chroma_difference` (negative where the coloring is paler), `hue_error` in
            degrees and `hue_faces`, those of which the coloring has a hue. A figure is None where it is not finite or
            no coloring has a hue. The first bin is "all", the others go by the photograph's L.
        """
        found: dict[str, Any] = {
            "searched": self._searched,
            "faces": len(self._truth),
            "photographs": len(set(self._photographs)),
        }
        if not self._truth:
            return found
        truth, photographs = torch.stack(self._truth), torch.tensor(self._photographs)
        bins = binned(truth[:, 0])
        for name, colors in self.colorings.items():
            colored = torch.stack(colors)
            found[name] = {
                title: {
                    "faces": int(chosen.sum()),
                    "photographs": len(set(photographs[chosen].tolist())),
                    **(errors(colored[chosen], truth[chosen, 1:]) if chosen.sum() >= LEAST else {}),
                }
                for title, chosen in bins.items()
            }
        return found


def binned(lightness: Tensor) -> dict[str, Tensor]:
    """Returns (N,) bool for each bin of the skin's L, and for all."""
    low, high = BOUNDS
    return {
        "all": torch.ones_like(lightness, dtype=torch.bool),
        f"L below {low:g}": lightness < low,
        f"L {low:g} to {high:g}": (lightness >= low) & (lightness < high),
        f"L {high:g} and above": lightness >= high,
    }


def errors(colored: Tensor, truth: Tensor) -> dict[str, float | int | None]:
    """Returns mean errors of chroma and hue: (N, 2) mean a and b of each face in the coloring and in the photograph."""
    chroma, real = colored.norm(dim=1), truth.norm(dim=1)
    gap = chroma - real
    seen = ~(chroma < _COLORED)  # what is not a number stays, and makes the figure none
    turned = torch.atan2(colored[:, 1], colored[:, 0]) - torch.atan2(truth[:, 1], truth[:, 0])
    hue = torch.rad2deg((turned + math.pi) % (2 * math.pi) - math.pi).abs()[seen]
    return {
        "chroma_error": _finite(gap.abs().mean()),
        "chroma_difference": _finite(gap.mean()),
        "hue_error": _finite(hue.mean()) if len(hue) else None,
        "hue_faces": len(hue),
    }


def rows(skin: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns a row for each bin and candidate, bin by bin: `bin`, `who` and the figures.

    Args:
        skin: what `SkinAccumulator.figures` returned.
        names: the candidates in their order; those without figures are left out.
    """
    known = [name for name in names if name in skin]
    titles = skin[known[0]] if known else ()
    return [{"bin": title, "who": name, **skin[name][title]} for title in titles for name in known]


def _finite(value: Tensor) -> float | None:
    return float(value) if bool(value.isfinite()) else None
