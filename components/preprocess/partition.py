"""Listing of the photographs, divided into partitions."""

import shutil
from pathlib import Path

from components.preprocess.config import PreprocessConfig
from components.preprocess.store import Store
from components.shared.photos import listing
from components.shared.photos.source import source
from model.utils.errors import UserError
from model.utils.files import folder_aside


def partition(
    photos: Path | str,
    output: Path,
    config: PreprocessConfig,
    *,
    data_version: str,
    partitions: int,
    store: Store | None = None,
) -> int:
    """Lists the photographs, except hidden ones, and divides the list.

    Args:
        photos: folder; or s3://bucket/prefix, a DVC remote or a prefix of photographs (see `remote.Remote`).
        output: folder for the listing (see `listing`); replaced as a whole, at the end.
        config: section `preprocess`.
        data_version: version of the photographs; read from S3 if they are there.
        partitions: largest number of partitions; none is empty unless there are no files.
        store: store of prepared photographs; its least recently used entries are removed.

    Returns:
        The number of partitions.

    Raises:
        UserError: `photos` is not a folder, S3 lacks the version, the CSV of the labels is missing, or the output
            cannot be written.
    """
    try:
        with source(photos) as found, folder_aside(output, listing.partition(0)) as folder:
            files = found.listed(data_version)
            by_path = {file.path: file for file in files}
            for path, copy in listing.tables(config.labels).items():
                file = by_path.get(path)
                if file and not found.reason_to_skip(file):
                    local = found.fetch(file, 0)
                    shutil.copyfile(local, folder / copy)
                    found.discard(local)
                elif copy == listing.LABELS:
                    raise UserError(f"{photos}: there is no file {path}; preprocess.labels names it.")
            if store:
                store.trim(len(files))
            return listing.write(folder, files, partitions)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}; make room, or give another folder.") from None
