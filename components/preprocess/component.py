"""KFP components of the preprocess step: list the photographs, prepare each partition, merge; `alone`: all in one."""

from kfp import dsl

from components.shared.component import component


def alone(
    photos: str,
    data_version: str,
    config: dict,
    code: str,
    store: str,
    publish: str,
    dataset: dsl.Output[dsl.Dataset],
):
    """Converts photographs to LAB shards and a manifest with the fate of every file.

    Args:
        photos: Folder of photographs; or s3://bucket/prefix, a DVC remote that holds them, or of the photographs.
        data_version: Names the photographs.
        config: Section `preprocess` of params.yaml.
        code: Hash of the code behind this step.
        store: Folder, or s3://bucket/prefix, that remembers photographs that were prepared before, and their splits.
        publish: s3://bucket/prefix that the shards move to; they are streamed from there.
        dataset: Shards, manifest.parquet, dataset.json.
    """
    from pathlib import Path

    from components.preprocess.config import PreprocessConfig
    from components.preprocess.step import preprocess as run
    from components.preprocess.store import Store
    from components.shared.s3.client import Address
    from components.shared.s3.streaming.published import publish as move
    from components.shared.step import step
    from model.utils.settings import check

    with step("preprocess"):
        section = check(PreprocessConfig, config, "preprocess")
        folder, known = Path(dataset.path), Store(store, section, code)
        summary = run(photos, folder, section, data_version=data_version, store=known)
        splits = ", ".join(f"{summary[split]} {split}" for split in ("train", "val", "test"))
        print(f"kept {summary['kept']} photographs: {splits}")
        for kind, count in summary["rejected"].items():
            print(f"rejected {count}: {kind}")
        if summary["labels"]:
            labels = ", ".join(f"{count} {name}" for name, count in summary["labels"].items())
            print(f"labels: {labels}; {summary['kept'] - sum(summary['labels'].values())} without")
        if publish:
            print(f"published as {move(folder, Address.parse(publish))}")
        print(f"ignored {summary['ignored']} other files; {folder / 'manifest.parquet'} has a row for every file")


@component
def partition(
    photos: str,
    data_version: str,
    partitions: int,
    config: dict,
    code: str,
    store: str,
    listing: dsl.Output[dsl.Artifact],
) -> list[int]:
    """Lists the photographs and cuts them into partitions. Returns the numbers of the partitions.

    Args:
        photos: Folder of photographs; or s3://bucket/prefix, a DVC remote that holds them, or of the photographs.
        data_version: Names the photographs (see resolve); it keys the cache, and is what S3 is asked for.
        partitions: How many.
        config: The `preprocess` section of params.yaml.
        code: Hash of the code behind this step; it keys the cache.
        store: Folder, or s3://bucket/prefix, that remembers photographs that were prepared before.
        listing: The partitions, and the tables among the photographs.
    """
    from pathlib import Path

    from components.preprocess.config import PreprocessConfig
    from components.preprocess.partition import partition as run
    from components.preprocess.store import Store
    from components.shared.step import step
    from model.utils.settings import check

    with step("partition", preprocess=code):
        section = check(PreprocessConfig, config, "preprocess")
        count = run(
            photos,
            Path(listing.path),
            section,
            data_version=data_version,
            partitions=partitions,
            store=Store(store, section, code),
        )
        return list(range(count))


@component
def preprocess(
    photos: str,
    listing: dsl.Input[dsl.Artifact],
    number: int,
    config: dict,
    code: str,
    store: str,
    part: dsl.Output[dsl.Artifact],
):
    """Judges each photograph of a partition on its own and converts it to LAB.

    Args:
        photos: As in `partition`.
        listing: From `partition`.
        number: The partition's.
        config: The `preprocess` section of params.yaml.
        code: Hash of the code behind this step; it keys the cache.
        store: As in `partition`.
        part: Each file's fate, and pixels.
    """
    from pathlib import Path

    from components.preprocess.config import PreprocessConfig
    from components.preprocess.prepare import prepare_part
    from components.preprocess.store import Store
    from components.shared.step import step
    from model.utils.settings import check

    with step("preprocess", preprocess=code):
        section = check(PreprocessConfig, config, "preprocess")
        known = Store(store, section, code)
        part.metadata.update(prepare_part(photos, Path(listing.path), number, Path(part.path), section, store=known))


@component
def merge(
    photos: str,
    data_version: str,
    listing: dsl.Input[dsl.Artifact],
    parts: dsl.Input[list[dsl.Artifact]],
    config: dict,
    code: str,
    store: str,
    publish: str,
    dataset: dsl.Output[dsl.Dataset],
):
    """Merges all partitions into LAB shards and a manifest with the fate of every file.

    Args:
        photos: As in `partition`.
        data_version: As in `partition`.
        listing: From `partition`.
        parts: From `preprocess`.
        config: The `preprocess` section of params.yaml.
        code: Hash of the code behind this step; it keys the cache.
        store: As in `partition`; it also holds the look-alikes of earlier data versions, which decide the splits.
        publish: s3://bucket/prefix where the shards are to lie, below an address of their own; empty: in the artifact.
        dataset: Shards, manifest.parquet, dataset.json.
    """
    from pathlib import Path

    from components.preprocess.config import PreprocessConfig
    from components.preprocess.merge import merge as run
    from components.preprocess.split_record import SplitRecord
    from components.shared.s3.client import Address
    from components.shared.s3.streaming.published import publish as move
    from components.shared.step import step
    from model.utils.settings import check

    with step("merge", preprocess=code):
        section = check(PreprocessConfig, config, "preprocess")
        folders = [Path(part.path) for part in parts]
        summary = run(
            Path(listing.path),
            folders,
            Path(dataset.path),
            section,
            photos=photos,
            data_version=data_version,
            record=SplitRecord(store),
        )
        dataset.metadata.update(summary, data_version=data_version)
        if publish:
            dataset.metadata["shards"] = str(move(Path(dataset.path), Address.parse(publish)))
