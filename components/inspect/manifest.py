"""Reader of a dataset's manifest, a few rows at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model.utils.errors import UserError

_ROWS = 1024  # in memory at once


def blocks(dataset: Path, columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """Yields all rows of manifest.parquet, in lists of at most 1024.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = dataset / "manifest.parquet"
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS, columns=list(columns)):
                yield batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read ({reason}); run preprocess again.") from None
