"""Defines the retraining graph, the same for a laptop and a cluster.

resolve, preprocess in parts, inspect, train and evaluate each variant, choose, register, promote; report at the end.
"""

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from components.choose.component import choose
from components.evaluate.component import evaluate
from components.inspect.component import inspect
from components.preprocess.component import merge, partition, preprocess
from components.register.component import promote, register
from components.report.component import report
from components.resolve.component import resolve
from components.train.component import train
from pipeline.cluster.settings import Cluster
from pipeline.place import place, reuse


def build(cluster: Cluster | None = None) -> GraphComponent:
    """Builds the graph for a cluster; for this machine, one step at a time, when none is given."""
    parts, at_once, publish = (cluster.partitions, cluster.variants, cluster.shards.publish) if cluster else (1, 1, "")

    @dsl.pipeline(
        name="colorizer-retraining",
        description="Retrains the colorizer and promotes it if it has earned it.",
        pipeline_config=dsl.PipelineConfig(active_deadline_seconds=cluster.deadline.run) if cluster else None,
    )
    def retraining(
        photos: str,
        data_version: str,
        recipe: str,
        variants: list,
        preprocess_config: dict,
        inspect_config: dict,
        evaluate_config: dict,
        choose_config: dict,
        register_config: dict,
        preprocess_code: str,
        inspect_code: str,
        train_code: str,
        evaluate_code: str,
        choose_code: str,
        checkpoints: str,
        tags: dict,
        only_if_changed: bool,
        partitions: int = parts,
    ):
        """Retrains the colorizer. `<step>_config` is section `<step>` of params.yaml, `<step>_code` a hash of its code.

        Args:
            photos: Folder of photographs; or s3://bucket/prefix, a DVC remote that holds them, or of the photographs.
            data_version: MD5 of the photographs as DVC computes it; or latest, as published last below that prefix.
            recipe: Names of the recipes, for the record.
            variants: The name of each variant and `train`, its section `train`. The best one goes to the gate.
            checkpoints: Folder or s3://bucket/prefix that outlives a lost attempt; it remembers photographs and splits.
            tags: Tags of the registered version that are known beforehand: git_commit, image_digest.
            only_if_changed: Whether a run ends at once when nothing is new.
            partitions: Parts of the photographs, preprocessed at once; their number changes nothing in the result.
        """
        outcome = report(recipe=recipe, data_version=data_version)

        with dsl.ExitHandler(outcome, name="retraining"):
            run = resolve(
                photos=photos, data_version=data_version, only_if_changed=only_if_changed,
                preprocess_config=preprocess_config, variants=variants,
                preprocess_code=preprocess_code, inspect_code=inspect_code, train_code=train_code,
                evaluate_code=evaluate_code, choose_code=choose_code, tags=tags,
            )  # fmt: skip
            version, champion, settled = run.outputs["version"], run.outputs["champion"], run.outputs["settled"]

            with dsl.If(run.outputs["Output"] == True, name="something-new"):  # noqa: E712 - a KFP channel, not a bool
                listed = partition(
                    photos=photos, data_version=version, partitions=partitions,
                    config=preprocess_config, code=preprocess_code, store=checkpoints,
                )  # fmt: skip
                listing = listed.outputs["listing"]
                with dsl.ParallelFor(listed.outputs["Output"], name="partitions") as number:
                    part = preprocess(
                        photos=photos, listing=listing, number=number,
                        config=preprocess_config, code=preprocess_code, store=checkpoints,
                    )  # fmt: skip
                merged = merge(
                    photos=photos, data_version=version, listing=listing, parts=dsl.Collected(part.outputs["part"]),
                    config=preprocess_config, code=preprocess_code, store=checkpoints, publish=publish,
                )  # fmt: skip
                dataset = merged.outputs["dataset"]

                inspected = inspect(
                    photos=photos, dataset=dataset, champion=champion, config=inspect_config, code=inspect_code
                )

                with dsl.ParallelFor(settled, name="variants", parallelism=at_once) as variant:
                    trained = train(dataset=dataset, variant=variant, code=train_code, checkpoints=checkpoints)
                    trained.after(inspected)  # no artifact joins them: a champion that moves causes no new training
                    model = trained.outputs["model"]
                    evaluated = evaluate(
                        dataset=dataset, model=model, champion=champion, variant=variant,
                        config=evaluate_config, code=evaluate_code,
                    )  # fmt: skip

                chosen = choose(
                    variants=settled, origins=run.outputs["origins"], models=dsl.Collected(model),
                    evaluations=dsl.Collected(evaluated.outputs["evaluation"]), config=choose_config, code=choose_code,
                )  # fmt: skip
                registered = register(
                    model=chosen.outputs["model"], evaluation=chosen.outputs["evaluation"],
                    inspection=inspected.outputs["inspection"], config=register_config, tags=chosen.outputs["origin"],
                )  # fmt: skip
                with dsl.If(registered.outputs["Output"] == True, name="better"):  # noqa: E712
                    promote(registration=registered.outputs["registration"])

        reuse()
        if cluster:
            place(cluster)

    return retraining


retraining = build()
