"""The whole preprocess step: photographs to LAB shards and a manifest of every file.

`partition.partition` lists the photographs, `prepare.prepare_part` accepts or rejects and converts those of a
partition, and `merge.merge` writes the dataset. `preprocess` runs the three in sequence, with one partition.
"""

from pathlib import Path
from typing import Any

from components.preprocess.config import PreprocessConfig
from components.preprocess.merge import merge
from components.preprocess.partition import partition
from components.preprocess.prepare import prepare_part
from components.preprocess.store import Store
from components.shared.s3.client import is_s3
from model.utils.errors import UserError
from model.utils.files import scratch_beside


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

    Every file below `photos`, except hidden ones, gets a row in the manifest. A file is rejected, with a reason, if it
    is unreadable; is a link to a place outside `photos`; has a short side below `min_side`; has a mean CIELAB chroma
    below `min_chroma`; or is a duplicate or near-duplicate (pHash of the central square, within `near_duplicate_bits`).
    Of look-alikes, the first one that the store has seen in any data version is kept, else the one with the smallest
    SHA-256. The SHA-256 of the first member that a group of look-alikes ever had decides the split of all others, even
    after that member is removed (see `look_alikes.grouped`). A photograph's label is its own, whatever those of its
    duplicates are.

    Names of files and the numbers of partitions and workers do not change a byte of the shards; another version of
    Pillow, its codecs or torch may. Memory holds a few photographs a worker and some hundred bytes for each file; the
    disk temporarily holds twice the dataset.

    Args:
        photos: any folder structure; or s3://bucket/prefix, as in `partition`.
        output: dataset folder; replaced as a whole, at the end.
        config: section `preprocess`.
        data_version: the photographs' version, for dataset.json.
        workers: processes that decode; by default one for each processor.
        store: store of prepared photographs, as in `prepare_part`, and of the look-alikes of earlier data versions.

    Returns:
        {"kept": n, "train": n, "val": n, "test": n, "ignored": n, "rejected": {kind of reason: n},
        "labels": {label: n}}.

    Raises:
        UserError: as `partition`, `prepare_part` and `merge`; or one of `photos` and `output` contains the other.
    """
    if not is_s3(photos):
        inside, outside = Path(photos).resolve(), output.resolve()
        if inside.is_relative_to(outside) or outside.is_relative_to(inside):
            raise UserError(f"{output} and {photos}: one contains the other; choose another folder for the dataset.")
    try:
        with scratch_beside(output) as steps:
            listed, part = steps / "listing", steps / "part"
            record = store.splits if store else None
            partition(photos, listed, config, data_version=data_version, partitions=1, store=store)
            prepare_part(photos, listed, 0, part, config, store=store, workers=workers)
            return merge(listed, [part], output, config, photos=str(photos), data_version=data_version, record=record)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}; make room, or give another folder.") from None
