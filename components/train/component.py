"""KFP component of the train step."""

from kfp import dsl

from components.shared.component import gpu_component


@gpu_component
def train(
    dataset: dsl.Input[dsl.Dataset],
    variant: dict,
    code: str,
    checkpoints: str,
    model: dsl.Output[dsl.Model],
    curves: dsl.Output[dsl.HTML],
):
    """Trains a generator on shards; resumes from its last checkpoint when it was interrupted.

    Args:
        dataset: Output of preprocess.
        variant: Its name, and `train`: section `train` of params.yaml.
        code: Hash of the code behind this step; it keys the cache and the checkpoints.
        checkpoints: Folder or s3://bucket/prefix that outlives a lost attempt; the next one resumes from there.
        model: generator.safetensors, generator.json, history, curves, samples.
        curves: The training curves as a page.
    """
    from pathlib import Path

    from components.shared.step import step
    from components.train.config import TrainConfig
    from components.train.launch import train as run
    from model.utils.settings import check

    with step(f"train {variant['name']}", train=code):
        run(
            dataset.path,
            Path(model.path),
            checkpoints,
            check(TrainConfig, variant["train"], "train"),
            code_version=code,
            variant=variant["name"],
        )
        from components.train.report import curves_page

        curves_page(Path(model.path), Path(curves.path))
