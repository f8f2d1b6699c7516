"""The sweep: `retraining` for several variants of a recipe on the same data, of which the best goes on to the gate."""

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from components.choose.component import choose
from components.report.component import report_outcome
from components.resolve.component import resolve_variants
from pipeline.cluster.settings import Cluster
from pipeline.graph import prepare, register_and_judge, settle, train_and_score


def build(cluster: Cluster, at_once: int | None = None) -> GraphComponent:
    """The whole graph, as it runs on that cluster.

    Args:
        cluster: Where it runs.
        at_once: Variants that are trained at the same time; the cluster's `variants` when not given.
    """

    @dsl.pipeline(name="colorizer-sweep", description="Trains variants of a recipe; the best one goes to the gate.")
    def sweep(
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
        checkpoints: str,
        tags: dict,
        only_if_changed: bool,
        partitions: int = cluster.partitions,
    ):
        """The whole sweep.

        Args:
            photos: As in `retraining`, like all that is not below.
            data_version: MD5 or latest.
            recipe: Names of the variants, for the record.
            variants: Of each its name, `variant`, and `train`, its section `train` of params.yaml.
            preprocess_config: Section `preprocess`, the same for all variants.
            inspect_config: Section `inspect`, the same for all.
            evaluate_config: Section `evaluate`, the same for all.
            choose_config: Section `choose`.
            register_config: Section `register`, the same for all.
            preprocess_code: Hash of the code behind the step.
            inspect_code: Hash of the code behind the step.
            train_code: Hash of the code behind the step.
            evaluate_code: Hash of the code behind the step.
            checkpoints: Folder, or s3://bucket/prefix, that outlives a lost training attempt.
            tags: What the winner's version is tagged with.
            only_if_changed: Whether a sweep of variants that were all made already ends at once.
            partitions: Of the photographs, preprocessed at once.
        """
        outcome = report_outcome(recipe=recipe, data_version=data_version)

        with dsl.ExitHandler(outcome, name="sweep"):
            settled = resolve_variants(
                photos=photos,
                data_version=data_version,
                only_if_changed=only_if_changed,
                preprocess_config=preprocess_config,
                variants=variants,
                preprocess_code=preprocess_code,
                train_code=train_code,
                tags=tags,
            )
            # kfp.local takes a task's output that enters a loop for the loop's item, unless it comes from outside.
            with dsl.If(settled.outputs["Output"] == True, name="something-new"):  # noqa: E712
                prepared = prepare(
                    photos,
                    settled,
                    partitions,
                    (preprocess_config, inspect_config),
                    (preprocess_code, inspect_code),
                    checkpoints,
                    cluster.shards.publish,
                )
                dataset, inspected = prepared["merge"].outputs["dataset"], prepared["inspect"]
                champion = settled.outputs["champion"]
                with dsl.ParallelFor(
                    settled.outputs["settled"], name="variants", parallelism=at_once or cluster.variants
                ) as each:
                    made = train_and_score(
                        dataset,
                        (each.train, evaluate_config),
                        (train_code, evaluate_code),
                        champion,
                        checkpoints,
                        each.variant,
                    )
                    made["train"].after(inspected)
                chosen = choose(
                    generators=dsl.Collected(made["train"].outputs["generator"]),
                    evaluations=dsl.Collected(made["evaluate"].outputs["evaluation"]),
                    variants=settled.outputs["settled"],
                    config=choose_config,
                )
                judged = register_and_judge(
                    chosen.outputs["generator"],
                    chosen.outputs["evaluation"],
                    inspected.outputs["inspection"],
                    register_config,
                    chosen.outputs["origin"],
                )

        tasks = {"resolve": settled, **prepared, **made, "choose": chosen, **judged, "report": outcome}
        settle(tasks, cluster)

    return sweep
