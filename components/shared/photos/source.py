"""The photographs, wherever they are."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.shared.photos.folder import Folder
from components.shared.photos.remote import Remote
from components.shared.s3.client import Address, is_s3


@contextmanager
def source(photos: Path | str) -> Iterator[Folder | Remote]:
    """The photographs: a folder, or s3://bucket/prefix; what is read of the latter lies on the disk for a moment."""
    if is_s3(photos):
        with remote(str(photos)) as found:
            yield found
    else:
        yield Folder(Path(photos))


@contextmanager
def remote(photos: str) -> Iterator[Remote]:
    """Those at s3://bucket/prefix."""
    with tempfile.TemporaryDirectory() as scratch:
        yield Remote(Address.parse(photos), Path(scratch))
