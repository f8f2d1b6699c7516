"""Mutated photographs for the decoder, each from a seed of its own, so that a failing one can be made again."""

import io
import random

import numpy as np
from PIL import Image

from tests.support.png_files import chunk, png
from tests.support.tiff_files import tiff

_MODES = {"JPEG": "RGB L CMYK", "PNG": "RGB P RGBA I;16", "TIFF": "RGB L CMYK 1 I;16", "WEBP": "RGB RGBA"}
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "HEIF", "AVIF", "JPEG2000")
_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)


def originals(photograph: bytes) -> list[bytes]:
    """Returns a real photograph, small, in each format and in each mode that the decoder treats differently."""
    with Image.open(io.BytesIO(photograph)) as opened:
        small = opened.convert("RGB").resize((96, 64))
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = 6, "Somebody"
    made = []
    for file_format in FORMATS:
        for mode in _MODES.get(file_format, "RGB").split():
            image = small.convert("L").convert("I").convert("I;16") if mode == "I;16" else small.convert(mode)
            options = {"TIFF": {"compression": "tiff_lzw"}, "JPEG": {"progressive": mode == "L"}}.get(file_format, {})
            content = io.BytesIO()
            image.save(content, file_format, exif=exif, **options)
            made.append(content.getvalue())
    deep = np.asarray(small).astype(np.uint32) * 257
    made.append(png(deep, 16, 2, chunk(b"tRNS", bytes(6)), chunk(b"gAMA", b"\0\1\x86\xa0")))
    made.append(tiff([deep[..., :1], deep[..., 1:2]], 12, 0, order=">", compression="LZW", tags={700: (7, b"<x/>")}))
    return made


def mutated(original: bytes, seed: int) -> bytes:
    """Returns the file with up to sixteen mutations (bytes changed, pieces cut or doubled), most near the headers."""
    rng = random.Random(seed)
    content = bytearray(original)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        end = len(content) if rng.random() < 0.5 else min(len(content), 200)
        place = rng.randrange(max(end, 1))
        length = rng.randint(1, 64)
        kind = rng.randrange(7)
        if kind <= 2 and content:
            content[place] = rng.choice(_INTERESTING) if kind == 0 else content[place] ^ (1 << rng.randrange(8))
        elif kind == 3:
            content[place : place + 4] = rng.choice(_INTERESTING).to_bytes(1, "big") * 4
        elif kind == 4:
            del content[place : place + length]
        elif kind == 5:
            content[place:place] = content[place : place + length] * rng.choice((1, 1, 50))
        else:
            del content[rng.randrange(len(content) + 1) :]
    return bytes(content)
