"""Registers a scored model as a version and challenger, lets the gate judge it, and acts on the verdict.

Registering the same model again gives the version that exists. The same model is: the same weights, trained on the same
version of the data. Another evaluation of it is no other model: it renews figures and verdict of that version.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.register import gate
from components.register.approval import RULES
from components.register.card import model_card
from components.register.config import RegisterConfig
from components.register.judgement import judge, scored
from components.register.logged_model import log_model
from components.register.photographs import INSPECTION, LINEAGE, sources_table
from components.shared.machine.pipeline_run import pipeline_run_id
from components.shared.mlflow import promotion, registry, runs
from model.utils.errors import Damaged, UserError
from model.utils.files import folder_aside

TAGS = ("git_commit", "data_version", "recipe", "pipeline_run_id", "image_digest")
"""Tags that the caller gives. The step adds weights_sha256, metrics, metrics_protocol and the gate's verdict.

It also adds those of the latest judgement: behind (how far it is behind the best champion so far, by metric and slice),
metrics_champion (figures of the champion at evaluation time), judged (the
verdict's outcome), judged_by (a hash of rules, settings, code and images), judged_beside (the champion of then, or
none), judged_in (the pipeline run), judged_with (the MLflow run that holds the evaluation), trained_in
(the MLflow run that trained it), data_drift (the alarm of inspect).
"""


def register(
    model: Path,
    evaluation: Path,
    output: Path,
    config: RegisterConfig,
    tags: Mapping[str, str],
    inspection: Path | None = None,
) -> dict[str, Any]:
    """Registers a model as challenger, judges it, and marks it as proposed or rejected. `promote` does the rest.

    A crash leaves at most a logged model without a version; the next call makes another. A version has its tags from
    the moment it exists, and an alias only after that.

    Args:
        model: output of train; its training.json names the MLflow run to write to, unless MLFLOW_RUN_ID does.
        evaluation: output of evaluate: metrics.json, report.html, samples.png.
        output: folder for registration.json and verdict.md.
        config: the gate's rules.
        tags: those of `TAGS`, and others; `pipeline_run.RUN_ID` in the environment stands in for pipeline_run_id.
        inspection: output of inspect about the photographs; None where nobody looked at them.

    Returns:
        The content of registration.json: version, model_uri, run_id, weights_sha256, champion (the version it was
        judged against, or null), data_drift (the alarm of inspect, or empty), promote, outcome, summary, reasons.

    Raises:
        UserError: a file is missing or damaged (`Damaged`: of the model), a tag is missing, MLflow cannot be reached.
    """
    tags = {**tags, "pipeline_run_id": tags.get("pipeline_run_id") or pipeline_run_id()}
    weights_sha256, metrics = _require_whole(model, evaluation, tags)
    promotion.repair()
    champion = registry.champion()
    verdict = judge(weights_sha256, metrics, champion, config)
    identity = {"weights_sha256": weights_sha256, "data_version": tags["data_version"]}
    data_drift = _read(inspection / "drift.json")["alarm"] if inspection else ""
    latest = _latest(metrics, verdict, tags["pipeline_run_id"], _training_run(model) or "", data_drift)
    version = registry.find(identity)
    if not (version and champion and version.number == champion.number):  # its verdict says why it is in service
        latest |= _tags(verdict)
    with runs.start_run("register", run_id=version.run_id if version else _training_run(model)) as run:
        latest |= {"judged_with": run.id, "judged_by": tags.get("judged_by", "")}
        latest["judged_beside"] = str(champion.number) if champion else "none"
        version = _keep(version, run, model, identity, tags, latest)
        registry.set_alias("challenger", version.number)
        _log_files(run, model, evaluation, inspection, config)
        described = _read(model / "generator.json"), _training(model), metrics, {**tags, **identity}
        run.log_text(model_card(*described, sources_table(model)), "evaluation/card.md")
    record = {
        "schema_version": 1,
        "version": version.number,
        "model_uri": version.uri,
        "run_id": version.run_id,
        "weights_sha256": weights_sha256,
        "champion": champion.number if champion else None,
        "data_drift": data_drift,
        **verdict.to_json(),
    }
    _write(output, record, verdict.to_markdown(f"Version {version.number}"))
    _keep_champion(record)
    return record


def promote(registration: Path) -> None:
    """Acts on a verdict to promote: the version becomes champion, the champion previous.

    Raises:
        UserError: the verdict is another one; or the champion is no longer the version that was compared.
    """
    record = _read(registration / "registration.json")
    if not record["promote"]:
        raise UserError(f"{registration}: version {record['version']} is not to be promoted: {record['summary']}")
    promotion.promote(record["version"], f"gate: {record['summary']}", replaces=record["champion"])
    runs.conclude("promoted", record["summary"])


def _require_whole(model: Path, evaluation: Path, tags: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Returns the checksum of the weights and their figures, if nothing is missing and they belong together."""
    missing = [name for name in TAGS if not tags.get(name)]
    if missing:
        raise UserError(f"tags: {', '.join(missing)} missing; a version is registered with all of {', '.join(TAGS)}.")
    weights_sha256 = registry.checksum(model)
    if weights_sha256 is None:
        raise Damaged(
            f"{model}: generator.safetensors is missing or damaged (generator.json has its SHA-256); train again.",
            model,
        )
    metrics = _read(evaluation / "metrics.json")
    if scored(metrics, "challenger") != weights_sha256:
        raise UserError(f"{evaluation / 'metrics.json'} is of another model than {model}: evaluate this one.")
    return weights_sha256, metrics


def _latest(
    metrics: Mapping[str, Any], verdict: gate.Verdict, pipeline_run: str, training_run: str, data_drift: str
) -> dict[str, str]:
    """Returns the tags that every judgement of a version renews."""
    return {
        "metrics": _short({name: value for name, value in metrics.items() if not isinstance(value, dict)}),
        "metrics_protocol": _short(metrics["protocol"]),
        "metrics_champion": _short(metrics.get("champion") or {}),
        "judged": verdict.outcome,
        "judged_in": pipeline_run,
        "trained_in": training_run,
        "data_drift": data_drift[: runs.MAX_TAG],
    }


def _keep(
    version: registry.Version | None,
    run: runs.Run,
    model: Path,
    identity: Mapping[str, str],
    tags: Mapping[str, str],
    latest: Mapping[str, str],
) -> registry.Version:
    """Creates the model's version, or renews the tags of the one that exists; returns it."""
    if version is None:
        model_id = log_model(model, run, identity)
        return _the_one(registry.create(model_id, run.id, {**tags, **identity, **latest}), identity)
    if "gate" in latest:  # an earlier verdict may have been another, with reasons by rules that no longer exist
        registry.delete_tags(version.number, _verdict_tags(version.tags) - latest.keys())
    registry.set_tags(version.number, latest)
    return version


def _log_files(run: runs.Run, model: Path, evaluation: Path, inspection: Path | None, config: RegisterConfig) -> None:
    run.log_text(config.model_dump_json(indent=2), f"evaluation/{RULES}")
    for name in ("metrics.json", "report.html", "samples.png"):
        run.log_artifact(evaluation / name, "evaluation")
    for file in (evaluation / "strengths.svg", *(model / name for name in LINEAGE)):
        if file.is_file():
            run.log_artifact(file, "evaluation")
    if inspection:
        for name in INSPECTION:
            run.log_artifact(inspection / name, "evaluation")


def _write(output: Path, record: Mapping[str, Any], verdict: str) -> None:
    with folder_aside(output, marker="registration.json") as folder:
        (folder / "registration.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        (folder / "verdict.md").write_text(verdict, encoding="utf-8")


def _keep_champion(record: Mapping[str, Any]) -> None:
    """Marks a proposed or rejected version; says why the champion stays. Does nothing when it is to be promoted."""
    outcome, reason = record["outcome"], f"gate: {record['summary']}"
    if record["promote"]:
        return
    if outcome == "propose":
        promotion.propose(record["version"], reason)
    elif outcome == "reject":
        promotion.reject(record["version"], reason)
    ended = {"propose": "proposed", "reject": "rejected", "unchanged": "unchanged"}
    runs.conclude(ended[outcome], record["summary"])
    print(f"Version {record['version']} is not promoted ({outcome}): {record['summary']}", flush=True)


def _the_one(made: registry.Version, identity: Mapping[str, str]) -> registry.Version:
    """Returns the oldest version of a model and deletes the other, when two runs made one at the same moment."""
    oldest = registry.find(identity) or made
    if oldest.number != made.number:
        registry.delete(made.number)
    return oldest


def _tags(verdict: gate.Verdict) -> dict[str, str]:
    reasons = {
        f"gate.{runs.valid_name(r.metric)}": f"{'holds' if r.holds else 'fails'}: {r.text}"[: runs.MAX_TAG]
        for r in verdict.reasons
    }
    return {
        "gate": verdict.outcome,
        "gate.summary": verdict.summary[: runs.MAX_TAG],
        "behind": _behind(verdict),
        **reasons,
    }


def _behind(verdict: gate.Verdict) -> str:
    """Returns how far a version is behind the best champion so far as JSON; the furthest first where not all fit."""
    found = dict(sorted(verdict.behind.items(), key=lambda item: item[1]))
    while len(text := json.dumps(found)) > runs.MAX_TAG:
        found.popitem()
    return text


def _verdict_tags(tags: Mapping[str, str]) -> set[str]:
    return {name for name in tags if name.startswith(("gate.", "rejected_", "rejection_", "propos"))}


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; run the step before this one.") from None
    except ValueError:
        raise UserError(f"{path} is no valid JSON; run the step that writes it again.") from None
    return found


def _training_run(model: Path) -> str | None:
    return _training(model).get("mlflow_run_id")


def _training(model: Path) -> dict[str, Any]:
    """Returns the content of training.json; empty without the file."""
    path = model / "training.json"
    return _read(path) if path.exists() else {}


def _short(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, separators=(",", ":"), sort_keys=True)
    return text if len(text) <= runs.MAX_TAG else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
