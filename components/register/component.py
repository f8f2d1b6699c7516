"""KFP faces of registration and of the gate's two branches."""

from kfp import dsl

from components.images.names import CPU_IMAGE


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def register(
    generator: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    inspection: dsl.Input[dsl.Artifact],
    config: dict,
    tags: dict,
    registration: dsl.Output[dsl.Artifact],
    verdict: dsl.Output[dsl.Markdown],
):
    """Records the model in the registry as challenger and judges it against the champion.

    Args:
        generator: The challenger.
        evaluation: Its scores and the champion's.
        inspection: What its photographs are like.
        config: The `register` section of params.yaml: the gate's rules.
        tags: git_commit, data_version, recipe, image_digest; pipeline_run_id where the environment does not tell it.
        registration: registration.json: version, model URI, verdict with a reason for each rule.
        verdict: The verdict as a page.
    """
    import shutil
    from pathlib import Path

    from components.register.step import register as run
    from components.shared.step import step
    from model.config import RegisterConfig, check

    with step("register") as notes:
        notes.update(generator=generator.path, evaluation=evaluation.path, registration=registration.path)
        notes.update(inspection=inspection.path)
        run(
            Path(generator.path),
            Path(evaluation.path),
            Path(registration.path),
            check(RegisterConfig, config, "register"),
            tags=tags,
            inspection=Path(inspection.path),
        )
        shutil.copyfile(Path(registration.path) / "verdict.md", verdict.path)


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def gate(registration: dsl.Input[dsl.Artifact]) -> bool:
    """The verdict as one unnamed output, the only kind that dsl.If reads correctly everywhere."""
    import json
    from pathlib import Path

    from components.shared.step import step

    with step("gate"):
        record = json.loads((Path(registration.path) / "registration.json").read_text(encoding="utf-8"))
        return bool(record["promote"])


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def promote(registration: dsl.Input[dsl.Artifact]):
    """Makes the challenger the champion."""
    from pathlib import Path

    from components.register.step import promote as run
    from components.shared.step import step

    with step("promote"):
        run(Path(registration.path))


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def reject(registration: dsl.Input[dsl.Artifact]):
    """Leaves the champion in service and writes down why."""
    from pathlib import Path

    from components.register.step import reject as run
    from components.shared.step import step

    with step("reject"):
        run(Path(registration.path))
