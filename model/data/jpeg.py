"""JPEG files: what makes a small one take hours or gigabytes is refused or passed by before Pillow opens it."""

import re

from model.data.metadata import MAX_EXIF

SIGNATURE = b"\xff\xd8\xff"
MAX_SCANS = 100
"""Most scans; each may go through all pixels anew. Progressive files have some ten."""
MAX_SEGMENTS = 10_000
"""Most segments before and between the scans."""

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # neither a byte of data, nor padding, nor a restart
_ALONE, _END, _SCAN, _APP1 = (0x01, 0xD8), 0xD9, 0xDA, 0xE1


def clean(content: bytes) -> bytes:
    """Returns the file, without its EXIF if that exceeds `MAX_EXIF`.

    Raises:
        ValueError: it has more than `MAX_SCANS` scans or `MAX_SEGMENTS` segments.
    """
    at, scans, segments = 2, 0, 0
    exif: list[tuple[int, int]] = []
    while (found := _MARKER.search(content, at)) and (marker := found[0][1]) != _END:
        at = found.end()
        if marker in _ALONE:
            continue
        end = at + max(2, int.from_bytes(content[at : at + 2], "big"))
        scans, segments = scans + (marker == _SCAN), segments + 1
        if scans > MAX_SCANS or segments > MAX_SEGMENTS:
            raise ValueError(f"more than {MAX_SCANS} scans or {MAX_SEGMENTS} segments")
        if marker == _APP1 and not scans and content.startswith(b"Exif\0\0", at + 2):
            exif.append((found.start(), end))
        at = end
    if sum(end - start for start, end in exif) <= MAX_EXIF:
        return content
    starts, ends = zip(*exif, strict=True)
    return b"".join(content[start:end] for start, end in zip((0, *ends), (*starts, len(content)), strict=True))
