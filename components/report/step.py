"""The exit task: reports how a pipeline run ended to logs, MLflow and people. It never fails the run."""

import html
import json
import math
import os
from typing import Any

from components.report.webhook import VARIABLE, deliver
from components.shared.mlflow import connection, registry, runs, tree

KFP_UI, MLFLOW_UI = "COLORIZE_KFP_UI", "COLORIZE_MLFLOW_UI"
"""Environment variables of the addresses under which people see Kubeflow Pipelines and MLflow; pods use others."""

_SUCCEEDED = ("SUCCEEDED", "COMPLETE", "CACHED")  # the first from kfp.local, the others from Kubeflow's backend
_ACTED = {"promote": "promoted", "reject": "rejected", "unchanged": "the champion already"}


def report(state: str, message: str, recipe: str, data_version: str) -> dict[str, Any]:
    """Prints the outcome as one line of JSON, ends the run's tree in MLflow, and posts the outcome to the webhook.

    Kubeflow gives an exit task no outputs of the steps, so it reads their results from MLflow. Where MLflow cannot be
    used, that part stays empty.

    Args:
        state: Kubeflow's state of the run.
        message: Kubeflow's error message; empty or general.
        recipe: of the run.
        data_version: of the run.

    Returns:
        The content of the line: outcome, failed_step, message, pipeline_run, recipe, data_version, version, verdict
        (outcome, summary, reasons), metrics (name -> the version's and the champion's), data_drift (the alarm of
        inspect), links, and text, a summary in the form that Slack shows.
    """
    outcome: dict[str, Any] = {
        "outcome": "SUCCEEDED" if state in _SUCCEEDED else state,
        "failed_step": None,
        "message": message,
        "pipeline_run": tree.pipeline_run_id(),
        "recipe": recipe,
        "data_version": data_version,
        "version": None,
        "verdict": None,
        "metrics": {},
        "data_drift": "",
        "links": {},
    }
    if os.environ.get(KFP_UI):
        outcome["links"]["run"] = f"{os.environ[KFP_UI].rstrip('/')}/#/runs/details/{outcome['pipeline_run']}"
    try:
        if outcome["pipeline_run"]:
            _add_results(outcome)
    except Exception as error:
        print(f"The results of this run cannot be read from MLflow: {error}", flush=True)
    outcome["text"] = _text(outcome)
    print(json.dumps(outcome), flush=True)
    url = os.environ.get(VARIABLE)
    if url:
        trouble = deliver(url, outcome)
        print(f"webhook: not delivered: {trouble}" if trouble else "webhook: delivered", flush=True)
    return outcome


@connection.explained()
def _add_results(outcome: dict[str, Any]) -> None:
    """Adds the results of the steps from MLflow to the outcome, and ends the run's tree."""
    client = connection.connect()
    experiment = runs.experiment_id(client)
    parent = tree.find(client, experiment)
    version = registry.find({"judged_in": outcome["pipeline_run"]})
    if parent and outcome["outcome"] != "SUCCEEDED":
        failed = tree.failed_step(client, experiment, parent)
        if failed:
            outcome["outcome"] = "FAILED"
            outcome["failed_step"], outcome["message"] = failed
        elif version and outcome["outcome"] == "RUNNING":
            outcome["outcome"] = "SUCCEEDED"  # Kubeflow is late with the state of nested graphs
    address = os.environ.get(MLFLOW_UI) or connection.redacted(connection.uri())
    ui = address.rstrip("/") if address.startswith("http") else None
    if version:
        outcome["version"] = version.number
        outcome["data_version"] = version.tags["data_version"]  # the run may have been given another name for it
        outcome["verdict"] = _verdict(version)
        outcome["metrics"] = _metrics(version)
        outcome["data_drift"] = version.tags.get("data_drift", "")
        if ui:
            outcome["links"]["version"] = f"{ui}/#/models/{registry.MODEL}/versions/{version.number}"
    elif outcome["outcome"] == "SUCCEEDED":
        outcome["message"] = "Nothing is new: a version was made of the same data, code and recipe. No training."
    if parent:
        if ui:
            outcome["links"]["mlflow"] = f"{ui}/#/experiments/{experiment}/runs/{parent}"
        succeeded = outcome["outcome"] == "SUCCEEDED"
        tree.close(client, experiment, parent, succeeded, {name: outcome[name] for name in ("recipe", "data_version")})


def _verdict(version: registry.Version) -> dict[str, Any]:
    """Returns the latest verdict; the tags of a champion keep the verdict that put it in service."""
    judged = version.tags["judged"]
    if judged == "unchanged":
        return {"outcome": judged, "summary": "These weights are the champion's already.", "reasons": {}}
    reasons = {name.removeprefix("gate."): text for name, text in version.tags.items() if name.startswith("gate.")}
    return {"outcome": judged, "summary": reasons.pop("summary"), "reasons": reasons}


def _metrics(version: registry.Version) -> dict[str, dict[str, float | None]]:
    own, champion = (_figures(version.tags.get(tag, "{}")) for tag in ("metrics", "metrics_champion"))
    return {name: {"version": value, "champion": champion.get(name)} for name, value in own.items()}


def _figures(tag: str) -> dict[str, float]:
    """Returns the finite figures of a tag; none where they are so many that the tag is their checksum."""
    figures = {} if tag.startswith("sha256:") else json.loads(tag)
    return {name: value for name, value in figures.items() if isinstance(value, float) and math.isfinite(value)}


def _text(outcome: dict[str, Any]) -> str:
    """Returns lines for people; &, < and > are escaped as Slack requires."""
    headline = f"Retraining of {registry.MODEL} ({outcome['recipe']}): {outcome['outcome'].lower()}"
    verdict = outcome["verdict"]
    if outcome["failed_step"]:
        headline += f" in {outcome['failed_step']}"
    if verdict:
        headline += f"; version {outcome['version']} is {_ACTED[verdict['outcome']]}"
    lines = [headline, outcome["message"], outcome["data_drift"]]
    if verdict:
        lines += [verdict["summary"], *(f"{name} {reason}" for name, reason in verdict["reasons"].items())]
    return html.escape("\n".join(filter(None, [*lines, *outcome["links"].values()])), quote=False)
