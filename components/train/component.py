"""KFP face of the train step."""

from kfp import dsl

from components.images.names import GPU_IMAGE


@dsl.component(base_image=GPU_IMAGE, install_kfp_package=False)
def train(
    dataset: dsl.Input[dsl.Dataset],
    config: dict,
    code: str,
    checkpoints: str,
    generator: dsl.Output[dsl.Model],
    curves: dsl.Output[dsl.HTML],
    variant: str = "",
):
    """Shards to generator weights, with training curves and sample grids.

    Args:
        dataset: What preprocess wrote.
        config: The `train` section of params.yaml.
        code: Hash of the code behind this step; it keys the cache and the checkpoints.
        checkpoints: Folder or s3://bucket/prefix that outlives a lost attempt; the next one goes on from there.
        generator: generator.safetensors, generator.json, history, curves, samples.
        curves: The training curves as a page.
        variant: Its name in a sweep; empty outside one.
    """
    from pathlib import Path

    from components.shared.step import step
    from components.train.launch import train as run
    from model.config import TrainConfig, check

    with step(f"train {variant}".rstrip()):
        run(
            Path(dataset.path),
            Path(generator.path),
            checkpoints,
            check(TrainConfig, config, "train"),
            code_version=code,
            variant=variant,
        )
        from components.train.report import curves_page

        curves_page(Path(generator.path), Path(curves.path))
