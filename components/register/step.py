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
from components.register.card import model_card
from components.register.config import RegisterConfig
from components.register.logged_model import log_model
from components.register.photographs import INSPECTION, LINEAGE, sources_table
from components.shared.mlflow import promotion, registry, runs, tree
from model.utils.errors import Damaged, UserError
from model.utils.files import folder_aside

TAGS = ("git_commit", "data_version", "recipe", "pipeline_run_id", "image_digest")
"""Tags that the caller gives; the step adds weights_sha256, metrics, metrics_protocol and the gate's verdict.

And of the latest judgement: metrics_champion (the champion of then), judged (the verdict's outcome), judged_in (the
pipeline run), judged_with (the MLflow run that holds the evaluation), trained_in (the MLflow run that trained it),
data_drift (what inspect was alarmed by).
"""


def register(
    model: Path,
    evaluation: Path,
    output: Path,
    config: RegisterConfig,
    tags: Mapping[str, str],
    inspection: Path | None = None,
) -> dict[str, Any]:
    """Makes or finds the model's version, makes it the challenger, judges it, and marks it when the gate rejects it.

    A verdict to promote is left to `promote`.

    A crash leaves at most a logged model without a version; the next call makes another. A version has its tags from
    the moment it exists, and an alias only after that.

    Args:
        model: generator folder, as train writes it. Its training.json names the MLflow run that is written to, unless
            MLFLOW_RUN_ID does.
        evaluation: what evaluate wrote: metrics.json, report.html, samples.png.
        output: folder for registration.json and verdict.md.
        config: the gate's rules.
        tags: those of `TAGS`, and others. pipeline_run_id may be left to the environment (`tree.RUN_ID`): who starts a
            run on Kubeflow does not know its id.
        inspection: what inspect wrote about the photographs; None where nobody looked at them.

    Returns:
        What registration.json holds: version, model_uri, run_id, weights_sha256, champion (the version it was judged
        against, or null), data_drift (what inspect was alarmed by, or nothing), and the verdict: promote, outcome,
        summary, reasons.

    Raises:
        UserError: a file is missing or damaged (`Damaged`: of the model), a tag is missing, MLflow cannot be reached.
    """
    tags = {**tags, "pipeline_run_id": tags.get("pipeline_run_id") or tree.pipeline_run_id()}
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
    if _scored(metrics, "challenger") != weights_sha256:
        raise UserError(f"{evaluation / 'metrics.json'} is of another model than {model}: evaluate this one.")
    promotion.repair()
    champion = registry.champion()
    verdict = _judge(weights_sha256, metrics, champion, config)

    identity = {"weights_sha256": weights_sha256, "data_version": tags["data_version"]}
    figures = {name: value for name, value in metrics.items() if not isinstance(value, dict)}
    data_drift = _read(inspection / "drift.json")["alarm"] if inspection else ""
    renewed = {
        "metrics": _short(figures),
        "metrics_protocol": _short(metrics["protocol"]),
        "metrics_champion": _short(metrics.get("champion") or {}),
        "judged": verdict.outcome,
        "judged_in": tags["pipeline_run_id"],
        "trained_in": _training_run(model) or "",
        "data_drift": data_drift[: runs.MAX_TAG],
    }
    version = registry.find(identity)
    if not (version and champion and version.number == champion.number):  # whose verdict says why it is in service
        renewed |= _tags(verdict)
    with runs.start_run("register", run_id=version.run_id if version else _training_run(model)) as run:
        renewed["judged_with"] = run.id
        if version is None:
            model_id = log_model(model, run, identity)
            version = _the_one(registry.create(model_id, run.id, {**tags, **identity, **renewed}), identity)
        else:
            registry.set_tags(version.number, renewed)
            if "gate" in renewed:  # reasons of an earlier verdict, by rules that are no more
                registry.delete_tags(version.number, _reasons(version.tags) - renewed.keys())
        registry.set_alias("challenger", version.number)
        for name in ("metrics.json", "report.html", "samples.png"):
            run.log_artifact(evaluation / name, "evaluation")
        for name in LINEAGE:
            if (model / name).is_file():
                run.log_artifact(model / name, "evaluation")
        if inspection:
            for name in INSPECTION:
                run.log_artifact(inspection / name, "evaluation")
        described = _read(model / "generator.json"), _training(model), metrics, {**tags, **identity}
        card = model_card(*described, sources_table(model))
        run.log_text(card, "evaluation/card.md")
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
    with folder_aside(output, marker="registration.json") as folder:
        (folder / "registration.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        (folder / "verdict.md").write_text(verdict.to_markdown(f"Version {version.number}"), encoding="utf-8")
    if not record["promote"]:
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


def _keep_champion(record: Mapping[str, Any]) -> None:
    """Marks a rejected version in the registry and says why the champion stays in service."""
    if record["outcome"] == "reject":
        promotion.reject(record["version"], f"gate: {record['summary']}")
    print(f"Version {record['version']} is not promoted ({record['outcome']}): {record['summary']}", flush=True)


def _the_one(made: registry.Version, identity: Mapping[str, str]) -> registry.Version:
    """The oldest version of a model, when two were made of it at the same moment; everybody keeps that one."""
    oldest = registry.find(identity) or made
    if oldest.number != made.number:
        registry.delete(made.number)
    return oldest


def _judge(
    weights_sha256: str, metrics: Mapping[str, Any], champion: registry.Version | None, config: RegisterConfig
) -> gate.Verdict:
    if champion is None:
        return gate.judge(metrics, None, config.rules, {})
    if champion.weights_sha256 == weights_sha256:
        return gate.unchanged(f"These weights are the champion's already (version {champion.number}).")
    if _scored(metrics, "champion") != champion.weights_sha256:
        return gate.reject(
            f"The champion (version {champion.number}) was not scored beside it: evaluate again, with the champion."
        )
    return gate.judge(metrics, metrics["champion"], config.rules, metrics.get("difference") or {})


def _scored(metrics: Mapping[str, Any], who: str) -> str | None:
    """The SHA-256 of the weights behind the challenger's or the champion's figures."""
    scored = metrics.get("protocol", {}).get(who, {}).get("weights_sha256")
    return str(scored) if scored else None


def _tags(verdict: gate.Verdict) -> dict[str, str]:
    reasons = {f"gate.{r.metric}": f"{'holds' if r.holds else 'fails'}: {r.text}" for r in verdict.reasons}
    return {"gate": verdict.outcome, "gate.summary": verdict.summary, **reasons}


def _reasons(tags: Mapping[str, str]) -> set[str]:
    return {name for name in tags if name.startswith("gate.")}


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
