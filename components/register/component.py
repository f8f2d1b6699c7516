"""KFP components of registration and promotion; `alone`: both in one."""

from kfp import dsl

from components.shared.component import component


@component
def register(
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    inspection: dsl.Input[dsl.Artifact],
    config: dict,
    tags: dict,
    registration: dsl.Output[dsl.Artifact],
    verdict: dsl.Output[dsl.Markdown],
) -> bool:
    """Registers a model as challenger and lets the gate judge it. Returns whether it is to be promoted.

    Args:
        model: The challenger.
        evaluation: Its scores and the champion's.
        inspection: Output of inspect about its photographs.
        config: Section `register` of params.yaml: the gate's rules.
        tags: git_commit, data_version, recipe, image_digest; pipeline_run_id where the environment does not tell it.
        registration: registration.json: version, model URI, verdict with a reason for each rule.
        verdict: The verdict as a page.
    """
    import shutil
    from pathlib import Path

    from components.register.config import RegisterConfig
    from components.register.step import register as run
    from components.shared.step import step
    from model.utils.settings import check

    with step("register") as notes:
        notes.update(model=model.path, evaluation=evaluation.path, registration=registration.path)
        notes.update(inspection=inspection.path)
        record = run(
            Path(model.path),
            Path(evaluation.path),
            Path(registration.path),
            check(RegisterConfig, config, "register"),
            tags=tags,
            inspection=Path(inspection.path),
        )
        shutil.copyfile(Path(registration.path) / "verdict.md", verdict.path)
        return bool(record["promote"])


@component
def promote(registration: dsl.Input[dsl.Artifact]):
    """Makes the challenger the champion.

    Args:
        registration: Output of register.
    """
    from pathlib import Path

    from components.register.step import promote as run
    from components.shared.step import step

    with step("promote"):
        run(Path(registration.path))


def alone(
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    inspection: dsl.Input[dsl.Artifact],
    config: dict,
    tags: dict,
    registration: dsl.Output[dsl.Artifact],
    verdict: dsl.Output[dsl.Markdown],
):
    """Registers a model as challenger and promotes it to champion if the gate lets it through.

    Args:
        model: The challenger.
        evaluation: Its scores and the champion's.
        inspection: Output of inspect about its photographs.
        config: Section `register` of params.yaml: the gate's rules.
        tags: git_commit, recipe, image_digest, pipeline_run_id; the model knows its data_version.
        registration: registration.json: version, model URI, verdict with a reason for each rule.
        verdict: The verdict as a page.
    """
    import json
    from pathlib import Path

    try:
        version = json.loads((Path(model.path) / "training.json").read_bytes())["data_version"]
    except (OSError, ValueError, KeyError):
        version = ""  # the step says what is missing
    known = {**tags, "data_version": version}
    if register.python_func(model, evaluation, inspection, config, known, registration, verdict):
        promote.python_func(registration)
    record = json.loads((Path(registration.path) / "registration.json").read_bytes())
    print(f"version {record['version']}: {record['outcome']}. {record['summary']}")
    for reason in record["reasons"]:
        print(f"  {'holds' if reason['holds'] else 'FAILS'}  {reason['metric']}: {reason['text']}")
