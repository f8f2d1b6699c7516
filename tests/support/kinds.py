"""Every kind of TIFF and PNG that the decoder is tried on, and the table of them in docs/reference/kinds.md.

`python -m tests.support.kinds` writes the table.
"""

import io
import itertools
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests.support.png_files import COLOR_TYPES, chunk, png
from tests.support.source import ROOT
from tests.support.tiff_files import COMPRESSIONS, PHOTOMETRICS, tiff

PAGE = ROOT / "docs" / "reference" / "kinds.md"
BITS = (1, 2, 4, 6, 8, 10, 12, 14, 16, 32)
HEIGHT, WIDTH = 21, 37


@dataclass(frozen=True)
class Kind:
    """Holds a file of one kind and the pixels that a reference decoder makes of it."""

    bits: int
    photometric: str
    order: str
    compression: str
    layout: str
    content: bytes
    expected: NDArray[np.unsignedinteger]
    """(H, W, 3) sRGB, of 16 bits where the file has more than 8."""
    tolerance: int = 0
    """Most levels between the decoders: 0 unless the compression loses detail or a conversion rounds."""

    @property
    def row(self) -> tuple[str, ...]:
        """Returns what groups kinds to a row of the table."""
        return str(self.bits), self.photometric


def scaled(samples: NDArray[np.unsignedinteger], bits: int) -> NDArray[np.unsignedinteger]:
    """Scales samples to 8 bits, or to 16 if they have more."""
    most, target = (1 << bits) - 1, 255 if bits <= 8 else 65535
    levels = (samples.astype(np.uint64) * target + most // 2) // most
    return levels.astype(np.uint8 if bits <= 8 else np.uint16)


def rgb(samples: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """Returns (H, W, 3) of (H, W) or (H, W, channels) with or without alpha, which is blended with white."""
    samples = samples if samples.ndim == 3 else samples[..., None]
    if samples.shape[2] in (2, 4):
        white = np.iinfo(samples.dtype).max
        alpha = samples[..., -1:].astype(np.float64) / white
        blended = samples[..., :-1] * alpha + white * (1 - alpha)
        samples = np.floor(blended + 0.5).astype(samples.dtype)
    return np.broadcast_to(samples, (*samples.shape[:2], 3))


def tiffs() -> Iterator[Kind]:
    """Yields gray and RGB TIFFs in every combination of depth, photometric, byte order, compression and layout."""
    draws = np.random.default_rng(0)
    for bits, (name, number), order, compression, layout in itertools.product(
        BITS, PHOTOMETRICS.items(), "<>", COMPRESSIONS, ("strips", "tiles", "planes", "predictor", "BigTIFF")
    ):
        if (number != 2 and layout == "planes") or (
            layout == "predictor" and (bits not in (8, 16, 32) or compression in ("none", "PackBits"))
        ):
            continue
        samples = draws.integers(0, 1 << bits, (HEIGHT, WIDTH, 3 if number == 2 else 1), dtype=np.uint32)
        options = {"predictor": {"predictor": 2}, "BigTIFF": {"big": True}}.get(layout, {"layout": layout})
        content = tiff([samples], bits, number, order=order, compression=compression, **options)
        yield Kind(bits, name, _words(order), compression, layout, content, _reference_tiff(content, bits, name))


def special_tiffs() -> Iterator[Kind]:
    """Yields TIFFs with alpha, several pages, reversed bits, and what `_by_libtiff` makes."""
    draws = np.random.default_rng(1)
    for bits, order, (number, name), extra in itertools.product(
        (8, 16), "<>", ((1, "min-is-black"), (2, "RGB")), (1, 2)
    ):
        channels = 4 if number == 2 else 2
        samples = draws.integers(0, 1 << bits, (HEIGHT, WIDTH, channels), dtype=np.uint32)
        if extra == 1:  # associated: no color exceeds its alpha
            samples[..., :-1] = samples[..., :-1] * samples[..., -1:].astype(np.uint64) // ((1 << bits) - 1)
        content = tiff([samples], bits, number, order=order, extra=extra)
        read = tifffile.imread(io.BytesIO(content)).reshape(samples.shape)
        white = (1 << bits) - 1
        expected = rgb(read) if extra == 2 else rgb(read[..., :-1] + (white - read[..., -1:]))
        alpha = "associated" if extra == 1 else "unassociated"
        yield Kind(bits, f"{name}, {alpha} alpha", _words(order), "none", "strips", content, expected, tolerance=1)
    for bits, order in itertools.product((1, 2, 4, 8, 16), "<>"):
        samples = draws.integers(0, 1 << bits, (HEIGHT, WIDTH, 1), dtype=np.uint32)
        content = tiff([samples], bits, 1, order=order, fill_order=2)
        yield Kind(bits, "min-is-black", _words(order), "none", "reversed bits", content, rgb(scaled(samples, bits)))
        pages = [samples, samples[::-1], samples[:, ::-1]]
        content = tiff(pages, bits, 1, order=order, compression="LZW")
        yield Kind(bits, "min-is-black", _words(order), "LZW", "3 pages", content, _reference_tiff(content, bits, ""))
    yield from _by_libtiff()


def _by_libtiff() -> Iterator[Kind]:
    """Yields TIFFs that Pillow and tifffile write, of kinds that Pillow's own decoder reads."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    smooth = np.stack((x * 6, y * 12, 255 - x * 6), axis=-1).astype(np.uint8)
    picture = Image.fromarray(smooth)
    for mode, photometric, compressions, tolerance in (
        ("1", "bilevel", ("group3", "group4"), 0),
        ("L", "min-is-black, lossy", ("jpeg",), 2),
        ("RGB", "YCbCr", ("jpeg",), 4),
        ("P", "palette", ("raw", "tiff_lzw", "packbits"), 0),
        ("CMYK", "CMYK", ("raw", "tiff_lzw"), 1),
    ):
        for compression in compressions:
            file, image = io.BytesIO(), picture.convert(mode)
            image.save(file, "TIFF", compression=compression)
            file.seek(0)
            read = tifffile.imread(file)
            if mode == "P":
                table = np.array(tifffile.TiffFile(io.BytesIO(file.getvalue())).pages[0].colormap) >> 8
                read = table[:, read].transpose(1, 2, 0).astype(np.uint8)
            if mode == "CMYK":
                inverse = 255 - read.astype(int)
                read = (inverse[..., :3] * inverse[..., 3:] / 255).round().astype(np.uint8)
            if mode == "1":
                read = np.where(read, 255, 0).astype(np.uint8)
            name = {
                "raw": "none",
                "tiff_lzw": "LZW",
                "packbits": "PackBits",
                "jpeg": "JPEG",
                "group3": "CCITT 3",
                "group4": "CCITT 4",
            }.get(compression, compression)
            bits = 1 if mode == "1" else 8
            yield Kind(bits, photometric, "little", name, "strips", file.getvalue(), rgb(read), tolerance)


def pngs() -> Iterator[Kind]:
    """Yields PNGs of every color type, depth, filter of interlacing, and transparent color."""
    draws = np.random.default_rng(2)
    channels = {"gray": 1, "RGB": 3, "palette": 1, "gray and alpha": 2, "RGB and alpha": 4}
    depths = {"gray": (1, 2, 4, 8, 16), "palette": (1, 2, 4, 8)}
    table = draws.integers(0, 256, (256, 3), dtype=np.uint8)
    for (name, number), interlaced in itertools.product(COLOR_TYPES.items(), (False, True)):
        for bits in depths.get(name, (8, 16)):
            samples = draws.integers(0, 1 << bits, (HEIGHT, WIDTH, channels[name]), dtype=np.uint32)
            before = (chunk(b"PLTE", table[: 1 << bits].tobytes()),) if name == "palette" else ()
            for transparent in (False, True) if name in ("gray", "RGB", "palette") else (False,):
                color = samples[0, 0] if name != "palette" else None
                key = struct.pack(f">{len(color)}H", *color) if color is not None else b"\0\x80"
                chunks = (*before, chunk(b"tRNS", key)) if transparent else before
                content = png(samples, bits, number, *chunks, interlaced=interlaced)
                read = imagecodecs.png_decode(content)
                if color is not None and transparent and read.ndim == 3 and read.shape[2] in (2, 4):
                    read = read[..., :-1]
                if color is not None and transparent:
                    clear = (samples == color).all(axis=2)[..., None]
                    white = np.iinfo(read.dtype).max
                    read = np.where(clear, white, read if read.ndim == 3 else read[..., None]).astype(read.dtype)
                kind = f"{name}, a transparent color" if transparent else name
                layout = "interlaced" if interlaced else "rows"
                blended = "alpha" in name or (name == "palette" and transparent)
                yield Kind(bits, kind, "big", "Deflate", layout, content, rgb(read), tolerance=int(blended))


def _reference_tiff(content: bytes, bits: int, photometric: str) -> NDArray[np.unsignedinteger]:
    """Returns what tifffile and imagecodecs make of the first page."""
    page = tifffile.TiffFile(io.BytesIO(content)).pages[0]
    samples = page.asarray()
    if page.planarconfig == 2 and samples.ndim == 3:
        samples = np.moveaxis(samples, 0, 2)
    if photometric == "min-is-white":
        samples = ((1 << bits) - 1) - samples.astype(np.uint64)
    return rgb(scaled(samples, bits))


def _words(order: str) -> str:
    return "little" if order == "<" else "big"


def kinds() -> dict[str, list[Kind]]:
    """Returns every kind by the name of its format."""
    return {"TIFF": [*tiffs(), *special_tiffs()], "PNG": list(pngs())}


BLANK = np.zeros((4, 4, 1), np.uint32)
REFUSED: dict[str, Callable[[], bytes]] = {
    "TIFF, signed integers": lambda: tiff([BLANK], 16, 1, sample_format=2),
    "TIFF, signed integers, big-endian": lambda: tiff([BLANK], 16, 1, sample_format=2, order=">"),
    "TIFF, floats": lambda: tiff([BLANK], 32, 1, sample_format=3),
    "TIFF, floats, min-is-white, big-endian": lambda: tiff([BLANK], 32, 0, sample_format=3, order=">"),
    "TIFF, complex": lambda: tiff([BLANK], 32, 1, sample_format=5),
    "TIFF, 16-bit CIELAB": lambda: tiff([np.zeros((4, 4, 3), np.uint32)], 16, 8),
    "TIFF, a camera's sensor": lambda: tiff([BLANK], 16, 32803),
    "DNG": lambda: tiff([np.zeros((4, 4, 3), np.uint32)], 8, 2, tags={50706: (1, b"\1\4\0\0")}),
    "Canon CR3": lambda: b"\0\0\0\x18ftypcrx \0\0\0\1" + bytes(64),
    "Fujifilm RAF": lambda: b"FUJIFILMCCD-RAW 0201" + bytes(64),
}
"""A file of each kind that is refused."""


def broken_pixels() -> bytes:
    """Returns a PNG with a wrong checksum in its pixels."""
    whole = png(BLANK, 8, 0)
    at = whole.index(b"IDAT") + 4 + len(zlib.compress(b"\0" * 20))
    return whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :]


REFUSED["PNG, a wrong checksum in its pixels"] = broken_pixels


def page() -> str:
    """Returns the text of docs/reference/kinds.md."""
    from model.data.images import ImageError, decode

    lines = [HEAD]
    for name, found in kinds().items():
        lines += ["", f"## {name}", "", *COLUMNS]
        rows: dict[tuple[str, ...], list[Kind]] = {}
        for kind in found:
            rows.setdefault(kind.row, []).append(kind)
        for (bits, photometric), group in rows.items():
            depth = "16 bits" if group[0].expected.dtype == np.uint16 else "8 bits"
            columns = zip(*((kind.order, kind.compression, kind.layout) for kind in group), strict=True)
            cells = [", ".join(dict.fromkeys(column)) for column in columns]
            most = max(kind.tolerance for kind in group)
            same = "equal" if most == 0 else f"within {most} level{'s' if most > 1 else ''}"
            lines.append(f"| {bits} | {photometric} | {' | '.join(cells)} | {depth}, {same} |")
    lines.append("\n## What is refused\n\n| file | answer |\n| --- | --- |")
    for name, make in REFUSED.items():
        try:
            decode(make())
        except ImageError as error:
            lines.append(f"| {name} | {error.reason} |")
    return "\n".join(lines) + "\n"


COLUMNS = (
    "| bits | photometric | byte order | compression | layout | pixels |",
    "| ---: | --- | --- | --- | --- | --- |",
)
HEAD = """# Kinds of files

`python -m tests.support.kinds` writes this page, and a test compares it. The test makes a file of each combination
in a row, decodes it, and compares the pixels with those of tifffile and imagecodecs. "16 bits" means that the colored
PNG or TIFF has 16 bits a channel. What else is kept: [serving.md](../guide/serving.md#what-a-colored-file-keeps).

JPEG (gray, RGB, CMYK), WebP, BMP, GIF, HEIC, AVIF and JPEG 2000 are read with 8 bits, a JPEG 2000 of 16-bit gray with
16. Of an animation the first frame is colored. A PNG's chunk that holds no pixels is passed by if its checksum is wrong
or it unpacks to more than 1 MiB. gAMA counts where a PNG has no profile, no sRGB and no cICP chunk, as in browsers,
except that 0.44 to 0.47 count as sRGB; cHRM does not count. A sample of more than 16 bits loses the rest."""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
