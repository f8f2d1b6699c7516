"""KFP faces of the preprocess step's three parts."""

from kfp import dsl

from components.images.names import CPU_IMAGE


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def partition(
    photos: str,
    data_version: str,
    partitions: int,
    config: dict,
    code: str,
    store: str,
    listing: dsl.Output[dsl.Artifact],
) -> list[int]:
    """The photographs, listed and cut into partitions. Returns the partitions' numbers.

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

    from components.preprocess.partition import partition as run
    from components.preprocess.store import Store
    from components.shared.step import step
    from model.config import PreprocessConfig, check

    with step("partition"):
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


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def preprocess(
    photos: str,
    listing: dsl.Input[dsl.Artifact],
    number: int,
    config: dict,
    code: str,
    store: str,
    part: dsl.Output[dsl.Artifact],
):
    """The photographs of a partition: each judged on its own, and converted to LAB.

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

    from components.preprocess.prepare import prepare_part
    from components.preprocess.store import Store
    from components.shared.step import step
    from model.config import PreprocessConfig, check

    with step("preprocess"):
        section = check(PreprocessConfig, config, "preprocess")
        known = Store(store, section, code)
        part.metadata.update(prepare_part(photos, Path(listing.path), number, Path(part.path), section, store=known))


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def merge(
    photos: str,
    data_version: str,
    listing: dsl.Input[dsl.Artifact],
    parts: dsl.Input[list[dsl.Artifact]],
    config: dict,
    code: str,
    publish: str,
    dataset: dsl.Output[dsl.Dataset],
):
    """All partitions together: LAB shards and a manifest with the fate of every file.

    Args:
        photos: As in `partition`.
        data_version: As in `partition`.
        listing: From `partition`.
        parts: From `preprocess`.
        config: The `preprocess` section of params.yaml.
        code: Hash of the code behind this step; it keys the cache.
        publish: s3://bucket/prefix where the shards are to lie, below an address of their own; empty: in the artifact.
        dataset: Shards, manifest.parquet, dataset.json.
    """
    from pathlib import Path

    from components.preprocess.merge import merge as run
    from components.shared.s3.client import Address
    from components.shared.s3.streaming.published import publish as move
    from components.shared.step import step
    from model.config import PreprocessConfig, check

    with step("merge"):
        section = check(PreprocessConfig, config, "preprocess")
        folders = [Path(part.path) for part in parts]
        summary = run(
            Path(listing.path), folders, Path(dataset.path), section, photos=photos, data_version=data_version
        )
        dataset.metadata.update(summary, data_version=data_version)
        if publish:
            dataset.metadata["shards"] = str(move(Path(dataset.path), Address.parse(publish)))
