"""Hints of a user, such as "the coat is blue": their format in JSON and their drawing for the network."""

from typing import Annotated

import numpy as np
import torch
from PIL import Image, ImageColor, ImageDraw
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor

from model.color import AB_SCALE, srgb_to_lab
from model.utils.errors import UserError

SIDE = 7
"""Pixels of a point at the network's scale, as benchmarks/hints.py measures and Zhang et al. 2017 evaluate."""


def _color(text: str) -> str:
    """Returns a color as #rrggbb."""
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise ValueError('should be a color such as "#2a4b8d" or "navy"') from None
    return f"#{red:02x}{green:02x}{blue:02x}"


_Share = Annotated[float, Field(ge=0, le=1)]


class Hint(BaseModel):
    """Holds a point or a stroke of one color."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    color: Annotated[str, Field(max_length=64), AfterValidator(_color)]
    """Color as #rrggbb or a name of CSS. Its hue and chroma count; the photograph keeps its lightness."""
    points: tuple[tuple[_Share, _Share], ...] = Field(min_length=1, max_length=1000)
    """One point, or the corners of a stroke: x and y as shares of the upright photograph's width and height."""


_HINTS = TypeAdapter(Annotated[tuple[Hint, ...], Field(max_length=200)])


def parse_hints(content: str | bytes, source: str) -> tuple[Hint, ...]:
    """Reads hints in JSON: [{"color": "#2a4b8d", "points": [[0.4, 0.6]]}, ...].

    Args:
        content: the JSON.
        source: name of its origin for error messages.

    Raises:
        UserError: names the first invalid key, its value and what is allowed.
    """
    try:
        return _HINTS.validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
        raise UserError(f"{source}: {key + ' ' if key else ''}{message[0].lower() + message[1:]}.") from None


def draw_hints(hints: tuple[Hint, ...], height: int, width: int) -> Tensor:
    """Draws hints as `Generator.forward` takes them: points as squares, strokes as lines. A later one covers others.

    Returns:
        (3, height, width) float32: a and b in -1..1, and the mask.
    """
    drawn = Image.new("I", (width, height))
    draw = ImageDraw.Draw(drawn)
    for number, hint in enumerate(hints, start=1):
        points = [(min(int(x * width), width - 1), min(int(y * height), height - 1)) for x, y in hint.points]
        draw.line(points, number, SIDE)
        for x, y in points:
            reach = SIDE // 2
            draw.rectangle((x - reach, y - reach, x + reach, y + reach), number)
    colors = [(128, 128, 128), *(ImageColor.getrgb(hint.color)[:3] for hint in hints)]  # gray: where no hint is
    ab = srgb_to_lab(torch.tensor(colors, dtype=torch.uint8).T[:, None])[1:, 0] / AB_SCALE
    place = torch.from_numpy(np.array(drawn, dtype=np.int64))
    return torch.cat((ab[:, place], (place > 0)[None].float()))
