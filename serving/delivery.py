"""Delivery of colored photographs as files: marked as made by a machine, with their opacity, signed."""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

from model.data.encoding import Pages, encode
from model.data.images import Photograph
from model.data.samples import Samples
from model.data.xmp import Mark
from model.utils.errors import UserError
from serving.credentials import Credentials


@dataclass(frozen=True)
class Delivery:
    """Holds what a user chooses for the files, and writes them."""

    mark: bool = True
    """Marks each file in XMP as colored by a machine."""
    keep_alpha: bool = False
    """Keeps the opacity of transparent pixels; else they are blended with white."""
    credentials: Credentials | None = None
    """Signs each file."""

    def file(self, colored: Samples, photograph: Photograph, model: str) -> bytes:
        """Returns the file of a colored photograph.

        Args:
            colored: (H, W, 3) sRGB.
            photograph: what was colored.
            model: name and version of what colored it, such as `model_name` returns.

        Raises:
            ImageError: the format cannot hold the picture.
            UserError: it cannot be signed.
        """
        mark = _mark(model)
        return self._signed(encode(colored, photograph, mark if self.mark else None), photograph, mark)

    def pages(self, model: str) -> Pages:
        """Returns the writer of a TIFF of several pages.

        Raises:
            UserError: it is to be signed.
        """
        if self.credentials:  # c2pa-python 0.38 keeps the first page alone
            raise UserError("a TIFF of several pages cannot be signed; color it without --sign-key, or split it first.")
        return Pages(_mark(model) if self.mark else None)

    def _signed(self, content: bytes, photograph: Photograph, mark: Mark) -> bytes:
        return self.credentials.sign(content, photograph.media_type, mark) if self.credentials else content


def model_name(number: int | None, weights_sha256: str) -> str:
    """Returns the name of a model for the mark: "colorizer, version 3, weights 1a2b3c4d5e6f"."""
    registered = f"colorizer, version {number}" if number else "colorizer"
    return f"{registered}, weights {weights_sha256[:12]}"


def _mark(model: str) -> Mark:
    return Mark(f"colorize {_version()}", model)


@cache
def _version() -> str:
    """Reads this program's version, from a file."""
    return version("colorize")


MARKED = Delivery()
"""The delivery of a user who chooses nothing."""
