"""KFP face of the preprocess step."""

from kfp import dsl

from components.images import CPU_IMAGE


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def preprocess(photos: str, data_version: str, config: dict, code: str, publish: str, dataset: dsl.Output[dsl.Dataset]):
    """Photographs to LAB shards and a manifest with the fate of every file.

    Args:
        photos: Folder of photographs; or s3://bucket/prefix, a DVC remote that holds them.
        data_version: MD5 of the folder as DVC computes it; it keys the cache and names what is fetched.
        config: The `preprocess` section of params.yaml.
        code: Hash of the code behind this step; it keys the cache.
        publish: s3://bucket/prefix where the shards are to lie, below an address of their own; empty: in the artifact.
        dataset: Shards, manifest.parquet, dataset.json.
    """
    from pathlib import Path

    from components.command import step
    from components.datasets import publish as move
    from components.preprocess.step import preprocess as run
    from components.storage import Address
    from model.config import PreprocessConfig, check

    with step("preprocess"):
        section = check(PreprocessConfig, config, "preprocess")
        summary = run(photos, Path(dataset.path), section, data_version=data_version)
        dataset.metadata.update(summary, data_version=data_version)
        if publish:
            dataset.metadata["shards"] = str(move(Path(dataset.path), Address.parse(publish)))
