"""Photographs to LAB shards: decides the fate of every file, converts what is kept.

In parts: `partition.partition` lists the photographs, `part.prepare_part` judges and converts those of a partition, and
`merge.merge` makes the dataset of all. `preprocess` is these in a row.
"""

import shutil
from pathlib import Path
from typing import Any

from components.preprocess.merge import merge
from components.preprocess.partition import partition
from components.preprocess.prepare import prepare_part
from components.preprocess.store import Store
from components.shared.s3.client import is_s3
from model.config import PreprocessConfig
from model.utils.errors import UserError


def preprocess(
    photos: Path | str,
    output: Path,
    config: PreprocessConfig,
    *,
    data_version: str,
    workers: int | None = None,
    store: Store | None = None,
) -> dict[str, Any]:
    """Turns photographs into a dataset folder (see `model.data.format`).

    Every file below `photos` gets a row in the manifest, hidden ones aside. Rejected are, with a reason each:
    unreadable files; links that lead out of `photos`; a short side below `min_side`; a mean CIELAB chroma below
    `min_chroma`; exact duplicates; and near-duplicates (pHash of the central square, within `near_duplicate_bits`), of
    which the one with the smallest SHA-256 stays, so that no two look-alikes can land in different splits. The split
    of what is kept follows from the SHA-256 of the file's bytes alone. Its label is its own, whatever those of its
    duplicates are.

    The shards are the same to the byte whatever the files' names, the number of partitions and of workers, as long as
    Pillow, its codecs and torch are. Memory holds a few photographs a worker and some hundred bytes of bookkeeping for
    each file; the disk, for the time being, twice the dataset.

    Args:
        photos: any folder structure; or s3://bucket/prefix, as in `partition`.
        output: replaced as a whole, at the end.
        config: section `preprocess`.
        data_version: names the photographs' version; it goes into dataset.json.
        workers: processes that decode; by default one for each processor.
        store: of what was prepared before, as in `prepare_part`.

    Returns:
        {"kept": n, "train": n, "val": n, "test": n, "ignored": n, "rejected": {kind of reason: n},
        "labels": {label: n}}.

    Raises:
        UserError: as `partition`, `prepare_part` and `merge`; or output and photographs lie in one another.
    """
    if not is_s3(photos):
        inside, outside = Path(photos).resolve(), output.resolve()
        if inside.is_relative_to(outside) or outside.is_relative_to(inside):
            raise UserError(f"{output} and {photos} lie in one another; choose another folder for the dataset.")
    steps = output.with_name(f".{output.name}.parts")
    try:
        listed, part = steps / "listing", steps / "part"
        partition(photos, listed, config, data_version=data_version, partitions=1, store=store)
        prepare_part(photos, listed, 0, part, config, store=store, workers=workers)
        return merge(listed, [part], output, config, photos=str(photos), data_version=data_version)
    finally:
        shutil.rmtree(steps, ignore_errors=True)
