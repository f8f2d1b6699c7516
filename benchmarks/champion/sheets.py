"""Sheets of photographs beside their colorings, drawn from what the evaluation shows."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage import data
from torch import Tensor

from components.evaluate.pictures import Shown
from model.inference.colorizer import Colorizer

WORST = 30
"""Number of photographs of a sheet of the worst."""
_GAP, _LINE = 8, 14  # pixels


def worst(l1_ab: Mapping[str, Tensor], rows: Sequence[int]) -> list[int]:
    """Returns the rows whose coloring loses most to gray, the worst first; one that is not finite is worse than all.

    Args:
        l1_ab: challenger and gray -> (N,) errors.
        rows: to choose from.
    """
    loss = (l1_ab["challenger"] - l1_ab["gray"]).nan_to_num(nan=float("inf")).tolist()
    return sorted(rows, key=lambda row: -loss[row])[:WORST]


def draw(shown: Sequence[Shown], columns: Mapping[str, str], side: int, across: int = 3) -> Image.Image:
    """Draws each photograph as gray, its colorings and true, with its file name and errors below.

    Args:
        shown: the photographs, with `gray` among the candidates.
        columns: candidate -> label of its column.
        side: pixels of a picture.
        across: photographs side by side.
    """
    labels = ("gray", *columns.values(), "true")
    width, height = len(labels) * side + _GAP, side + 2 * _LINE + _GAP
    rows = -(-len(shown) // across)
    sheet = Image.new("RGB", (across * width, 2 * _LINE + rows * height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for place in range(min(across, len(shown)) * len(labels)):
        block, column = divmod(place, len(labels))
        pen.text((block * width + column * side, 4), labels[column], "black", font)
    for index, photograph in enumerate(shown):
        left, top = index % across * width, 2 * _LINE + index // across * height
        tiles = (photograph.gray, *(photograph.colored[name][0] for name in columns), photograph.true)
        for column, tile in enumerate(tiles):
            picture = Image.fromarray(tile).resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(picture, (left + column * side, top))
        for line, text in enumerate(_caption(photograph, columns)):
            fitting = text[: int((width - _GAP) / 6)]  # a letter takes about six pixels
            pen.text((left, top + side + line * _LINE), fitting, "black", font)
    return sheet


def people(colorizer: Colorizer, side: int = 320) -> Image.Image:
    """Draws two photographs of people that scikit-image ships, in public domain or CC0: gray, colored, true.

    The second was taken in black and white; it has no true colors.
    """
    portrait = Image.fromarray(data.astronaut())
    old = Image.fromarray(data.camera())
    tiles = []
    for photograph in (portrait, old):
        gray = photograph.convert("L").convert("RGB")
        tiles += [gray, Image.fromarray(colorizer.colorize(np.asarray(gray))[0])]
    tiles.insert(2, portrait)
    sheet = Image.new("RGB", (len(tiles) * (side + _GAP) - _GAP, side), "white")
    for place, tile in enumerate(tiles):
        sheet.paste(tile.resize((side, side), Image.Resampling.LANCZOS), (place * (side + _GAP), 0))
    return sheet


def _caption(photograph: Shown, columns: Mapping[str, str]) -> tuple[str, str]:
    path, gray = PurePosixPath(photograph.path), photograph.l1_ab["gray"]
    errors = (f"{name} {photograph.l1_ab[who] - gray:+.1f}" for who, name in columns.items())
    return f"{path.parts[0]}/{path.name}", f"l1_ab: gray {gray:.1f}, " + ", ".join(errors)
