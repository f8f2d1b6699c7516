"""The source of photographs for a path or an S3 address."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.shared.photos.folder import Folder
from components.shared.photos.remote import Remote
from components.shared.s3.client import Address, is_s3


@contextmanager
def source(photos: Path | str) -> Iterator[Folder | Remote]:
    """Yields the source for a folder or s3://bucket/prefix. Objects of S3 are on disk only while they are read."""
    if is_s3(photos):
        with remote(str(photos)) as found:
            yield found
    else:
        yield Folder(Path(photos))


@contextmanager
def remote(photos: str) -> Iterator[Remote]:
    """Yields the source for s3://bucket/prefix."""
    with tempfile.TemporaryDirectory() as scratch:
        yield Remote(Address.parse(photos), Path(scratch))
