"""Pictures of an evaluation: photographs beside their colorings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from components.evaluate.accumulate import to_displayable
from components.evaluate.candidates import Candidate
from model.color import decode_lab, lab_to_srgb, to_uint8
from model.data.shards import Shards

_LEAST_SIDE = 160  # pixels; smaller photographs are enlarged for the eye
_MARGIN, _LABEL = 8, 18
_INK, _MUTED, _PAPER = (20, 20, 20), (110, 110, 110), (255, 255, 255)
_SPREAD, _SHEET_SIDE = 8, 128  # photographs of the contact sheet, and the side of each in pixels


@dataclass(frozen=True)
class Shown:
    """Holds a test photograph for the report. Pictures are (S, S, 3) uint8 sRGB."""

    group: str
    """best, median or worst, by the challenger's l1_ab."""
    path: str
    l1_ab: Mapping[str, float]
    """Candidate -> its error on this photograph."""
    gray: NDArray[np.uint8]
    colored: Mapping[str, Sequence[NDArray[np.uint8]]]
    """Candidate -> its colorings: one, or as many as it makes of a photograph."""
    true: NDArray[np.uint8]


def choose(l1_ab: Tensor, each: int = 3) -> dict[str, list[int]]:
    """Returns the indices of the best, median and worst photographs, none twice; NaN counts as worst.

    Args:
        l1_ab: (N,) of the challenger.
        each: largest number of photographs in a group.
    """
    order = l1_ab.nan_to_num(nan=float("inf")).argsort(stable=True).tolist()
    each = min(each, max(1, len(order) // 3))
    middle = (len(order) - each) // 2
    groups = {"best": order[:each], "median": order[middle : middle + each], "worst": order[-each:]}
    seen: set[int] = set()
    distinct = {}
    for name, indices in groups.items():
        distinct[name] = [index for index in indices if index not in seen]
        seen.update(indices)
    return distinct


def show(
    shards: Shards,
    groups: Mapping[str, Sequence[int]],
    candidates: Mapping[str, Candidate],
    l1_ab: Mapping[str, Tensor],
    device: torch.device,
) -> list[Shown]:
    """Colors the chosen photographs again, for the accumulators keep no pictures. Dropout draws anew.

    Args:
        shards: the test split.
        groups: name -> indices of photographs.
        candidates: name -> candidate.
        l1_ab: candidate -> (N,) errors.
        device: of the candidates.
    """
    shown = []
    for group, indices in groups.items():
        for index in indices:
            stored = torch.from_numpy(shards[[index]]).to(device)
            lightness = stored[:, :1]
            colored = {name: _pixels(lightness, paint(lightness, [index])) for name, paint in candidates.items()}
            shown.append(
                Shown(
                    group=group,
                    path=shards.paths[index],
                    l1_ab={name: float(l1_ab[name][index]) for name in candidates},
                    gray=_pixels(lightness, torch.zeros_like(stored[:, 1:], dtype=torch.float32)[None])[0],
                    colored=colored,
                    true=_rgb(decode_lab(stored))[0],
                )
            )
    return shown


def samples_picture(shown: Sequence[Shown], candidates: Mapping[str, str]) -> Image.Image:
    """Draws the groups side by side; each photograph is a row of gray, colored, true, with labels.

    Args:
        shown: the photographs.
        candidates: name -> label of its column.
    """
    labels = ("gray", *candidates.values(), "true")
    groups = list(dict.fromkeys(photograph.group for photograph in shown))
    side = max(_LEAST_SIDE, shown[0].gray.shape[0])
    rows = max(sum(photograph.group == group for photograph in shown) for group in groups)
    block = len(labels) * (side + _MARGIN) + 2 * _MARGIN
    top = 2 * _LABEL + 2 * _MARGIN
    row_height = side + _LABEL + _MARGIN
    picture = Image.new("RGB", (len(groups) * block + _MARGIN, top + rows * row_height), _PAPER)
    draw = ImageDraw.Draw(picture)
    bold, plain = ImageFont.load_default(size=15), ImageFont.load_default(size=12)
    for column, group in enumerate(groups):
        left = _MARGIN + column * block
        draw.text((left, _MARGIN), f"{group} by l1_ab", _INK, bold)
        for place, label in enumerate(labels):
            draw.text((left + place * (side + _MARGIN), _MARGIN + _LABEL), label, _MUTED, plain)
        for row, photograph in enumerate(p for p in shown if p.group == group):
            y = top + row * row_height
            tiles = (photograph.gray, *(photograph.colored[name][0] for name in candidates), photograph.true)
            for place, tile in enumerate(tiles):
                image = Image.fromarray(tile).resize((side, side), Image.Resampling.BICUBIC)
                picture.paste(image, (left + place * (side + _MARGIN), y))
            errors = ", ".join(f"{photograph.l1_ab[name]:.1f}" for name in candidates)
            draw.text((left, y + side + 1), f"l1_ab {errors}", _MUTED, plain)
    return picture


def spread(count: int) -> list[int]:
    """Returns the indices of a few photographs, evenly spread over the first `count`."""
    return [int(index) for index in np.linspace(0, count - 1, min(_SPREAD, count))]


def contact_sheet(shown: Sequence[Shown]) -> dict[str, NDArray[np.uint8]]:
    """Returns strips of small pictures side by side: `gray`, `challenger` and `true`, each (H, W, 3) uint8 sRGB."""

    def strip(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        side = min(_SHEET_SIDE, len(pictures[0]))
        return np.concatenate([np.asarray(Image.fromarray(each).resize((side, side))) for each in pictures], axis=1)

    return {
        "gray": strip([photograph.gray for photograph in shown]),
        "challenger": strip([photograph.colored["challenger"][0] for photograph in shown]),
        "true": strip([photograph.true for photograph in shown]),
    }


def _pixels(lightness: Tensor, samples: Tensor) -> list[NDArray[np.uint8]]:
    return [_rgb(to_displayable(lightness, sample.nan_to_num()))[0] for sample in samples]


def _rgb(lab: Tensor) -> NDArray[np.uint8]:
    return to_uint8(lab_to_srgb(lab)).permute(0, 2, 3, 1).cpu().numpy()
